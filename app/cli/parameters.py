"""Parameters that several commands share.

Only what help needs is imported here, so that help is shown at once; commands import the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from functools import partial
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import DocInfo, Ge, Gt, Le
from cyclopts import App, Group, Parameter, validators

from app.cli.terminal import say
from app.cluster.start import Share
from weakpoints.errors import BadOption
from weakpoints.given_options import number, options_from
from weakpoints.options import HINTS, NAMES, PRESETS, Options

if TYPE_CHECKING:
    from app.settings import Settings

Json = Annotated[bool, Parameter(name="--json", help="print JSON", show_default=False)]
Folder = Annotated[Path, Parameter(validator=validators.Path(exists=True, file_okay=False))]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Above0 = Annotated[float, Parameter(validator=validators.Number(gt=0))]


def command_group(name: str, about: str) -> App:
    """Commands under one name. Without a command, or with an unknown one, its exit code is 2."""
    parameter = Parameter(negative=(), allow_repeating=True)  # no --no-json; the last one counts
    group = App(name=name, help=about, default_parameter=parameter)

    @group.default
    def no_command(*words: Annotated[str, Parameter(show=False)]) -> int:
        known = ", ".join(command for command in group if not command.startswith("-"))
        wrong = f"no command {words[0]!r}" if words else "a command is missing"
        return say(f"{wrong}; there are {known}", 2)

    return group


def settings_of_arguments(**given: Any) -> "Settings":
    """As `app.settings` reads them; that is imported when it is needed."""
    from app.settings import read_settings as read

    return read(**given)


@Parameter(name="*")
@dataclass(frozen=True)
class NetworkFlags:
    """Which network, of which manifest."""

    network: Annotated[
        str | None, Parameter(help="a network of the manifest [default: WEAKPOINTS_NETWORK]")
    ] = None
    manifest: Annotated[
        Path | None, Parameter(help="the manifest of networks [default: WEAKPOINTS_MANIFEST]")
    ] = None

    def settings(self) -> "Settings":
        """Raises WeakpointsError."""
        return settings_of_arguments(network=self.network, manifest=self.manifest)


@Parameter(name="*", group=Group("Where it runs", sort_key=1))
@dataclass(frozen=True)
class Where:
    """One process here, or workers on a Ray cluster."""

    engine: Annotated[
        Literal["plain", "ray"],
        Parameter(help="ray: on the cluster of RAY_ADDRESS, or one started here"),
    ] = "plain"
    workers: Annotated[Count, Parameter(help="Ray: so many, each with its own network")] = 1
    cpus: Annotated[Above0, Parameter(help="Ray: cores for each")] = 1.0
    gpus: Annotated[
        float,
        Parameter(
            help="Ray: GPUs for each, 0.5 is half of one", validator=validators.Number(gte=0)
        ),
    ] = 0.0

    @property
    def share(self) -> Share:
        return Share(self.workers, self.cpus, self.gpus)


class _Given:
    """What was given of the service's options."""

    def options(self) -> Options:
        """Raises ValueError with the flag, its value and what is wrong with it."""
        try:
            return options_from(asdict(self))  # type: ignore[call-overload]
        except BadOption as error:
            flag = str(error.figures["option"]).replace("_", "-")
            rule = error.detail.partition(": ")[2]
            raise ValueError(f"--{flag} {error.figures['actual']}: {rule}") from error


def _flag(name: str) -> tuple[str, Any, Any]:
    """A field of `OptionFlags`: its type, range and meaning as in `Options`."""
    hint, notes = get_args(HINTS[name])[0], HINTS[name].__metadata__
    kinds = [member for member in _members(hint) if member is not type(None)]
    # Other types are text on a command line, which `options_from` reads.
    simple = len(kinds) == 1 and (kinds[0] in (int, float) or get_origin(kinds[0]) is Literal)
    bounds = {
        key: getattr(note, limit)
        for note in notes
        for kind, limit, key in ((Ge, "ge", "gte"), (Gt, "gt", "gt"), (Le, "le", "lte"))
        if isinstance(note, kind)
    }
    parameter = Parameter(
        help=" ".join(_help(name, notes, bounds)),
        validator=validators.Number(**bounds) if bounds else (),
        converter=partial(_parsed_number, name) if bounds else None,
    )
    kind = kinds[0] if simple else str
    return name, Annotated[kind | None, parameter], field(default=None)


def _parsed_number(name: str, _: Any, tokens: Sequence[Any]) -> int | float | None:
    """As the service reads it: cyclopts would take 2.7 for 3, and 0x10 for 16."""
    text = tokens[0].value
    try:
        return number(name, text) if text else None
    except BadOption as error:
        raise ValueError(f'"{text}": {error.detail.partition(": ")[2]}') from error


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _help(name: str, notes: tuple[Any, ...], bounds: dict[str, Any]) -> Iterator[str]:
    """Meaning, range, and the value in each preset that has one of its own."""
    yield next(note.documentation for note in notes if isinstance(note, DocInfo))
    if bounds:
        low = f"above {bounds['gt']}" if "gt" in bounds else str(bounds["gte"])
        yield f"[{low} to {bounds['lte']}]"
    values = {preset: getattr(options, name) for preset, options in PRESETS.items()}
    usual = values["default"]
    chosen = {
        preset: value
        for preset, value in values.items()
        if value is not None and (preset == "default" or (value != usual and name != "preset"))
    }
    if chosen:
        yield f"[{', '.join(f'{preset}: {value}' for preset, value in chosen.items())}]"


def _possible(kind: type[_Given], given: _Given) -> None:
    given.options()


if TYPE_CHECKING:
    OptionFlags = _Given
else:
    OptionFlags = Parameter(
        name="*", validator=_possible, group=Group("Options, the same as the service's", sort_key=2)
    )(
        make_dataclass(
            "OptionFlags",
            map(_flag, NAMES),
            bases=(_Given,),
            frozen=True,
            namespace={"__module__": __name__},
        )
    )
"""Every option of the service as a flag; one that was not given is None."""
