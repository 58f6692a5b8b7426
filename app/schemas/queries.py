"""What a caller may ask for: query parameters, flags, and the same as JSON and Python have it.

Ranges and meanings of options come from `options.Options`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from annotated_types import DocInfo
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
)

from weakpoints.errors import BadOption
from weakpoints.options import (
    HINTS,
    MOST_TARGETS,
    NAMES,
    Format,
    Options,
    ResolvedOptions,
    Size,
    Style,
    Which,
    choose,
    drawn_class,
)

SPELLINGS = {
    "roi": Annotated[str | None, Field(pattern=r"^[0-9]{1,9}(,[0-9]{1,9}){3}$")],
    "target_class": Annotated[str | None, Field(max_length=100 * MOST_TARGETS)],
    "background": Annotated[str | None, Field(pattern=r"^[0-9a-fA-F]{6}$")],
}


def _fields() -> dict[str, Any]:
    """Every option, none of them required."""
    fields = {}
    for name in NAMES:
        meaning = next(
            note.documentation for note in HINTS[name].__metadata__ if isinstance(note, DocInfo)
        )
        hint = SPELLINGS.get(name, HINTS[name] | None)
        fields[name] = (hint, Field(None, description=meaning))
    return fields


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def options(self) -> Options:
        """The preset, with the given options instead of its own."""
        given = {name: getattr(self, name) for name in NAMES if name != "preset"}
        roi, target = given.pop("roi"), given.pop("target_class")
        return choose(
            self.model_dump()["preset"] or "default",
            roi=tuple(int(number) for number in roi.split(",")) if roi else None,
            target_class=_index_or_label(target),
            **given,
        )


class DetectQuery(create_model("EveryOption", __base__=_Strict, **_fields())):  # type: ignore[misc]
    """The options of `Options`, as query parameters and as command-line flags."""


def _index_or_label(text: str | None) -> int | str | None:
    return int(text) if text and text.isdecimal() else text


class DrawQuery(DetectQuery):
    """The options of `/detect`, and how to draw."""

    map: Which = Field("fused", description="which map to draw")
    style: Style = Field(
        "overlay", description="over the picture, on its own, or the raw values as 16-bit grey"
    )
    keypoints: bool = Field(False, description="draw the keypoints, too")
    size: Size = Field("image", description="pixels of the picture, or of the network's input")
    drawn_class: str | None = Field(
        None,
        max_length=200,
        description="which of several classes of `target_class` to draw, index or label; the "
        "first if not given",
    )

    def drawn(self, options: ResolvedOptions, labels: Sequence[str]) -> int | None:
        """The index of the class to draw, None: the first. Raises BadOption."""
        return drawn_class(_index_or_label(self.drawn_class), options, labels)


class HeatmapQuery(DrawQuery):
    """A picture, or a file of arrays."""

    format: Format | None = Field(
        None,
        description="a picture, or all maps as numpy's file, to which the parameters of the "
        "picture do not matter; `Accept` decides if not given, and `png` where that does not say",
    )


def _as_json_has_them(schema: dict[str, Any]) -> None:
    """Tells OpenAPI what `_with_commas` takes beside text."""
    number = {"type": "integer", "minimum": 0}
    named = {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, number]}}
    box = {"type": "array", "minItems": 4, "maxItems": 4, "items": number}
    schema["properties"]["target_class"]["anyOf"] += [number, named]
    schema["properties"]["roi"]["anyOf"] += [box]


class DetectParameters(DetectQuery):
    """The same as JSON and Python have them: a class may be a number, a list stands for commas."""

    model_config = ConfigDict(coerce_numbers_to_str=True, json_schema_extra=_as_json_has_them)

    @field_validator("roi", "target_class", mode="before")
    @classmethod
    def _with_commas(cls, value: object) -> object:
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


Parameters = TypeVar("Parameters", bound=DetectParameters)


def options_of(given: Mapping[str, Any], kind: type[Parameters]) -> Parameters:
    """The options by their names. Raises BadOption for the first that is wrong."""
    try:
        return kind(**given)
    except ValidationError as error:
        raise bad_option(error.errors()[0], kind.model_fields) from None


def bad_option(error: Mapping[str, Any], known: Iterable[str]) -> BadOption:
    """What pydantic says of an option that is unknown or out of range, with what was given."""
    name = str(error["loc"][-1])[:100]
    if error["type"] == "extra_forbidden":
        names = sorted(known)
        return BadOption(
            f"there is no option {name!r}; options are {', '.join(names)}",
            option=name,
            known=names,
        )
    given = str(error.get("input"))[:200]
    return BadOption(
        f"{name} is {given!r}: {error['msg']}",
        option=name,
        actual=given,
        **error.get("ctx", {}),
    )
