"""What a caller may ask for: query parameters, flags, and the same as JSON has it.

Ranges and meanings of options come from `weakpoints.options.Options`; `weakpoints.given_options`
reads their values, here as in Python.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeVar

from annotated_types import DocInfo
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    create_model,
)

from weakpoints.errors import BadOption
from weakpoints.given_options import LONGEST, checked, checked_class, unknown_option
from weakpoints.options import (
    HINTS,
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

SPELLINGS = {  # how OpenAPI tells options that are text in a query and something else in Python
    "roi": Annotated[str | None, Field(pattern=r"^[0-9]{1,9}(,[0-9]{1,9}){3}$")],
    "target_class": Annotated[str | None, Field(max_length=LONGEST)],
    "background": Annotated[str | None, Field(pattern=r"^[0-9a-fA-F]{6}$")],
}


def _fields() -> dict[str, Any]:
    """Every option, none of them required. Pydantic has their schema, the library their values."""
    fields = {}
    for name in NAMES:
        meaning = next(
            note.documentation for note in HINTS[name].__metadata__ if isinstance(note, DocInfo)
        )
        hint = SPELLINGS.get(name, HINTS[name] | None)
        read = WrapValidator(partial(_checked_option, name))
        fields[name] = (Annotated[hint, read], Field(None, description=meaning))
    return fields


def _checked_option(name: str, value: object, _pydantic: object) -> object:
    """Raises BadOption, which passes through pydantic as it is."""
    return checked(name, value)


class Strict(BaseModel):
    """Options by name; one that is not known is refused."""

    model_config = ConfigDict(extra="forbid")

    def options(self) -> Options:
        """The preset, with the given options instead of its own."""
        given = {name: getattr(self, name) for name in NAMES}
        return choose(given.pop("preset") or "default", **given)


class DetectQuery(create_model("EveryOption", __base__=Strict, **_fields())):  # type: ignore[misc]
    """The options of `Options`, as query parameters and as command-line flags."""


class DrawQuery(DetectQuery):
    """The options of `/detect`, and how to draw."""

    map: Which = Field("fused", description="which map to draw")
    style: Style = Field(
        "overlay", description="over the picture, on its own, or the raw values as 16-bit grey"
    )
    keypoints: bool = Field(False, description="draw the keypoints, too")
    size: Size = Field("image", description="pixels of the picture, or of the network's input")
    drawn_class: Annotated[
        str | None, WrapValidator(lambda value, _: checked_class("drawn_class", value))
    ] = Field(
        None,
        max_length=200,
        description="which of several classes of `target_class` to draw, index or label; the "
        "first if not given",
    )

    def drawn(self, options: ResolvedOptions, labels: Sequence[str]) -> int | None:
        """The index of the class to draw, None: the first. Raises BadOption."""
        return drawn_class(self.drawn_class, options, labels)


class HeatmapQuery(DrawQuery):
    """A picture, or a file of arrays."""

    format: Format | None = Field(
        None,
        description="a picture, or all maps as numpy's file, to which the parameters of the "
        "picture do not matter; `Accept` decides if not given, and `png` where that does not say",
    )


def _as_json_has_them(schema: dict[str, Any]) -> None:
    """Tells OpenAPI what is taken beside text."""
    number = {"type": "integer", "minimum": 0}
    named = {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, number]}}
    box = {"type": "array", "minItems": 4, "maxItems": 4, "items": number}
    schema["properties"]["target_class"]["anyOf"] += [number, named]
    schema["properties"]["roi"]["anyOf"] += [box]


class DetectParameters(DetectQuery):
    """The same as JSON has them: a class may be a number, and several are a list."""

    model_config = ConfigDict(json_schema_extra=_as_json_has_them)


QueryKind = TypeVar("QueryKind", bound=BaseModel)


def options_of(given: Mapping[str, Any], kind: type[QueryKind]) -> QueryKind:
    """The options by their names. Raises BadOption for the first that is wrong."""
    try:
        return kind(**given)
    except ValidationError as error:
        raise bad_option(error.errors()[0], kind.model_fields) from None


def bad_option(error: Mapping[str, Any], known: Iterable[str]) -> BadOption:
    """What pydantic says of a parameter that is unknown or out of range, with what was given."""
    name = str(error["loc"][-1])[:100]
    # Misspelt: the answer lists the names that there are.
    if error["type"] == "extra_forbidden":
        return unknown_option(name, known)
    given = str(error.get("input"))[:200]
    return BadOption(
        f"{name} is {given!r}: {error['msg']}",
        option=name,
        actual=given,
        **error.get("ctx", {}),
    )


class LandmarksQuery(Strict):
    """The options of `/detect` that matter to named points; `roi` may be given several times."""

    roi: Annotated[list[str] | None, WrapValidator(lambda value, _: _box_list(value))] = Field(
        None, description="x,y,w,h in pixels: look at this part only; several: an object each"
    )
    fit: Annotated[str | None, WrapValidator(partial(_checked_option, "fit"))] = Field(
        None, description="how the picture becomes a square: squeezed, or with its aspect kept"
    )
    background: Annotated[str | None, WrapValidator(partial(_checked_option, "background"))] = (
        Field(None, description="colour under what can be seen through, as RRGGBB; 000000 is black")
    )
    top_classes: Annotated[int | None, WrapValidator(partial(_checked_option, "top_classes"))] = (
        Field(None, description="how many classes to list")
    )

    def options(self) -> Options:
        """Of the first object."""
        return self.objects()[0]

    def objects(self) -> list[Options]:
        """The options of each object, in their order."""
        shared = choose(fit=self.fit, background=self.background, top_classes=self.top_classes)
        boxes: list[Any] = [*(self.roi or ())] or [None]
        return [replace(shared, roi=box) for box in boxes]


def _boxes_in_json(schema: dict[str, Any]) -> None:
    """Tells OpenAPI what is taken beside texts."""
    number = {"type": "integer", "minimum": 0}
    box = {"type": "array", "minItems": 4, "maxItems": 4, "items": number}
    schema["properties"]["roi"]["anyOf"] += [box, {"type": "array", "items": box}]


class LandmarksParameters(LandmarksQuery):
    """The same as JSON has them: a box may be a list of four numbers, and several a list of it."""

    model_config = ConfigDict(json_schema_extra=_boxes_in_json)


def _box_list(value: object) -> list[Any] | None:
    """The parts to look at, of one box or several. Raises BadOption."""
    boxes = isinstance(value, list) and not (value and isinstance(value[0], int))
    given = list(value) if boxes and isinstance(value, list) else [value]
    return [box for box in (checked("roi", text) for text in given) if box is not None] or None
