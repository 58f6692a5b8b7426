"""Every option of a caller: its range, its meaning, and its value in each preset.

HTTP query parameters, command-line flags and OpenAPI are all made from `Options`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal, get_type_hints
from unicodedata import normalize

from annotated_types import Ge, Gt, Le, doc

from weakpoints.errors import BadOption

Preset = Literal["default", "paper"]
Fit = Literal["squash", "letterbox"]
Fill = Literal["shared", "per_box"]
Score = Literal["log_odds", "probability", "logit"]
Fine = Literal["contrast", "mirrored", "guided", "gradient"]
Combine = Literal["corners", "log_sigmoid"]
Box = tuple[int, int, int, int]
Which = Literal["fused", "coarse", "fine"]
Style = Literal["overlay", "colormap", "gray16"]
Size = Literal["image", "network"]
Format = Literal["png", "npz"]
WHITE = "ffffff"
MOST_TARGETS = 10  # classes of one request: each needs a backward pass
DIGITS = 9  # of an index
MAX_PASSES = 20_000  # box positions times colours of one request
Precision = Literal["auto", "float32", "tf32", "float16"]


@dataclass(frozen=True)
class Limits:
    """What is accepted of an upload; all of it is checked before anything is decoded.

    max_bytes: of the file. max_pixels, max_side, min_side: of the picture, sides in pixels.
    max_scanned: scans times pixels of a JPEG.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_side: int = 16_384
    min_side: int = 16
    max_scanned: int = 1_000_000_000  # 20 scans of the largest picture; encoders make up to 12


@dataclass(frozen=True)
class NetworkDefaults:
    """What a network's own default detection is: the box and its step in pixels of the input.

    colours: of the boxes. weight: of the coarse map.
    """

    patch: int
    stride: int
    colours: int = 2
    weight: float = 0.1


@dataclass(frozen=True)
class Options:
    """The options of one detection, as given. `resolve` replaces what depends on the network."""

    preset: Annotated[
        Preset,
        doc("where the options that are not given come from; `paper` is the paper to the letter"),
    ] = "default"
    target_class: Annotated[
        int | str | tuple[int | str, ...] | None,
        doc(
            "class index or label to explain, instead of the predicted one; several with commas "
            "between them, 10 at most, share one occlusion"
        ),
    ] = None
    fit: Annotated[
        Fit, doc("how the picture becomes a square: squeezed, or with its aspect kept")
    ] = "squash"
    roi: Annotated[Box | None, doc("x,y,w,h in pixels: look at this part only")] = None
    background: Annotated[
        str, doc("colour under what can be seen through, as RRGGBB; 000000 is black")
    ] = WHITE
    patch: Annotated[
        int | None,
        Ge(1),
        Le(1024),
        doc("side of the occluding box, network pixels; the network's own if not given"),
    ] = None
    stride: Annotated[
        int | None,
        Ge(1),
        Le(1024),
        doc("step of the occluding box, network pixels; the network's own if not given"),
    ] = None
    colours: Annotated[
        int | None,
        Ge(1),
        Le(64),
        doc("random box colours to average over; the network's own number if not given"),
    ] = None
    fill: Annotated[Fill, doc("the same colours at every position, or new ones for each box")] = (
        "shared"
    )
    seed: Annotated[
        int, Ge(0), Le(2**31 - 1), doc("seed of the colours, mixed with the picture's digest")
    ] = 0
    score: Annotated[Score, doc("the class score whose drop is read")] = "log_odds"
    fine: Annotated[
        Fine,
        doc(
            "backward rule of the fine map; `mirrored` is `guided`, averaged with that of the "
            "mirrored picture; `contrast` is `mirrored` where no other likely class claims "
            "the place"
        ),
    ] = "contrast"
    combine: Annotated[
        Combine,
        doc(
            "what a keypoint is: a corner of the photograph where both maps are high, or a peak "
            "of their sum"
        ),
    ] = "corners"
    weight: Annotated[
        float | None,
        Ge(0),
        Le(1),
        doc("share of the coarse map in the log-likelihood; the network's own if not given"),
    ] = None
    keep: Annotated[
        float, Gt(0), Le(1), doc("share of the local maxima that is kept, strongest first")
    ] = 0.15
    max_keypoints: Annotated[int, Ge(1), Le(1000), doc("never more keypoints than this")] = 100
    nms_radius: Annotated[
        int | None,
        Ge(1),
        Le(256),
        doc("a keypoint is the maximum this far around, network pixels; side/28 if not given"),
    ] = None
    top_classes: Annotated[int, Ge(1), Le(100), doc("how many classes to list")] = 5


@dataclass(frozen=True, kw_only=True)
class ResolvedOptions(Options):
    """`Options` for one network, made by `resolve`: lengths are numbers, classes are indices.

    target_class: one index, or several; None is the predicted class.
    """

    target_class: int | tuple[int, ...] | None = field()
    patch: int = field()
    stride: int = field()
    colours: int = field()
    weight: float = field()
    nms_radius: int = field()

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes to explain; none: the predicted one."""
        match self.target_class:
            case None:
                return ()
            case int():
                return (self.target_class,)
        return self.target_class


PRESETS: dict[Preset, Options] = {
    "default": Options(),
    "paper": Options(
        preset="paper",
        colours=1,
        fill="per_box",
        score="probability",
        fine="guided",
        combine="log_sigmoid",
        weight=0.5,
        keep=0.4,
    ),
}
HINTS: dict[str, Any] = get_type_hints(Options, include_extras=True)
NAMES = tuple(field.name for field in fields(Options))


def choose(preset: Preset = "default", **given: Any) -> Options:
    """The preset, with the given options instead of its own; None stands for not given."""
    return replace(
        PRESETS[preset], **{name: value for name, value in given.items() if value is not None}
    )


def resolve(
    options: Options, side: int, labels: Sequence[str], own: NetworkDefaults | None = None
) -> ResolvedOptions:
    """The options for a network with `side` x `side` pixels of input and these labels.

    own: this network's defaults. Without them, and in preset `paper`, patch and stride are side/14
    and side/28. `nms_radius` is side/28. A label becomes its index. `target_class`
    None stays: it means the predicted class. Raises BadOption where patch, stride and side do not
    fit, or there is no such class.
    """
    given = {name: getattr(options, name) for name in NAMES}
    if own is None or options.preset == "paper":
        own = NetworkDefaults(max(1, side // 14), max(1, side // 28))
    resolved = ResolvedOptions(
        **given
        | {
            "target_class": _classes(options.target_class, labels),
            "patch": options.patch or own.patch,
            "stride": options.stride or own.stride,
            "colours": options.colours or own.colours,
            "weight": own.weight if options.weight is None else options.weight,
            "nms_radius": options.nms_radius or max(1, side // 28),
        }
    )
    if resolved.patch > side:
        raise BadOption(
            f"patch is {resolved.patch} but the network's input side is {side}",
            option="patch",
            limit=side,
            actual=resolved.patch,
        )
    if resolved.stride > resolved.patch:
        raise BadOption(
            f"stride is {resolved.stride}, more than the patch of {resolved.patch}: "
            "pixels between the boxes would never be covered",
            option="stride",
            limit=resolved.patch,
            actual=resolved.stride,
        )
    return resolved


def drawn_class(
    wanted: int | str | None, options: ResolvedOptions, labels: Sequence[str]
) -> int | None:
    """The index of the class to draw, None if not given.

    Raises BadOption where it is none of those that are asked for.
    """
    if wanted is None:
        return None
    chosen = class_index(wanted, labels, "drawn_class")
    if chosen not in options.targets:
        raise BadOption(
            f"drawn_class is {wanted!r}, which is none of the classes of target_class",
            option="drawn_class",
            limit=list(options.targets),
            actual=wanted,
        )
    return chosen


def _classes(
    wanted: int | str | tuple[int | str, ...] | None, labels: Sequence[str]
) -> int | tuple[int, ...] | None:
    """One index, or several for labels or indices with commas between them, once each."""
    if wanted is None:
        return None
    if isinstance(wanted, str) and "," in wanted and wanted not in labels:
        wanted = _split(wanted, labels)
    if not isinstance(wanted, tuple):
        return class_index(wanted, labels)
    if len(wanted) > MOST_TARGETS:
        raise BadOption(
            f"target_class names {len(wanted)} classes; "
            f"at most {MOST_TARGETS} are explained at once",
            option="target_class",
            limit=MOST_TARGETS,
            actual=len(wanted),
        )
    return tuple(dict.fromkeys(class_index(part, labels) for part in wanted))


def _split(text: str, labels: Sequence[str]) -> tuple[str, ...]:
    """A list at its commas, but not at those inside a label: the longest label goes first."""
    pieces, known, parts = text.split(","), frozenset(labels), list[str]()
    longest = 1 + max(label.count(",") for label in labels)
    while pieces:
        ends = range(min(longest, len(pieces)), 1, -1)
        end = next((end for end in ends if ",".join(pieces[:end]).strip() in known), 1)
        parts.append(",".join(pieces[:end]).strip())
        del pieces[:end]
    return tuple(parts)


def classes_called(name: str, labels: Sequence[str]) -> tuple[int, ...]:
    """The indices that a text may mean: none, one, or several classes of one label.

    A label goes before an index, so that the class "7" of a network whose labels are numbers is the
    one that is called so; `007` is index 7 there, unless a label is that. Letters that look the
    same are the same, however Unicode spells them.
    """
    called = tuple(i for i, label in enumerate(labels) if label == name)
    if not called and not name.isascii():  # file systems spell é in two ways, and so do people
        name = normalize("NFC", name)
        called = tuple(i for i, label in enumerate(labels) if normalize("NFC", label) == name)
    if not called and name.isascii() and name.isdecimal() and len(name) <= DIGITS:
        called = (int(name),) if int(name) < len(labels) else ()
    return called


def class_index(wanted: int | str, labels: Sequence[str], option: str = "target_class") -> int:
    """The class of an index or a label. Raises BadOption where there is none, or more than one."""
    if isinstance(wanted, str):
        called = classes_called(wanted, labels)
        if len(called) > 1:
            raise BadOption(
                f"{option} is {wanted!r}, as the classes {' and '.join(map(str, called))} are "
                "called; name one by its index",
                option=option,
                actual=wanted,
                known=list(called),
            )
        if called:
            return called[0]
        if not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= DIGITS):
            raise BadOption(
                f"{option} is {wanted!r}, which is none of the {len(labels)} labels",
                option=option,
                actual=wanted,
            )
        wanted = int(wanted)  # of no class: its range is told below
    if not 0 <= wanted < len(labels):
        raise BadOption(
            f"{option} is {wanted}; classes go from 0 to {len(labels) - 1}",
            option=option,
            actual=wanted,
        )
    return wanted
