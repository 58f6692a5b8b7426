"""The JSON of named points."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from app.schemas.answers import (
    Figure,
    ImageSize,
    ModelInfo,
    OneOfSeveral,
    PixelLength,
    Prediction,
    ProblemOfSeveral,
    model_info,
    prediction,
)

if TYPE_CHECKING:  # the client reads the wire without torch
    from weakpoints.landmarks.named import Landmark, Named
    from weakpoints.method.localization import Model

LANDMARK_OPTIONS = ("roi", "fit", "background", "top_classes")


class WireLandmark(BaseModel):
    """A named point in pixels: x right, y down, (0, 0) is the centre of the top-left pixel.

    confidence: the probability that it is within a tenth of the object's longer side. visible:
    false where it is too unsure to be taken for seen. covariance: of its map, in pixels squared.
    """

    name: str
    x: PixelLength
    y: PixelLength
    confidence: Figure
    visible: bool
    covariance: tuple[tuple[Figure, Figure], tuple[Figure, Figure]]


class NamedObject(BaseModel):
    """The landmarks of one object.

    bbox: x, y, w, h from the first to the last visible landmark, null where none is. roi: the part
    that was looked at. prediction: the network's own answer there.
    """

    landmarks: list[WireLandmark]
    bbox: tuple[PixelLength, PixelLength, PixelLength, PixelLength] | None
    roi: tuple[int, int, int, int] | None
    prediction: Prediction


class NamedPointsFound(NamedObject):
    """The answer to one picture.

    skeleton: pairs of landmarks that are joined, counted from 0. objects: where `roi` was given
    several times, one for each, in their order; the first is told above, too.
    """

    id: str
    image: ImageSize
    skeleton: list[tuple[int, int]]
    objects: list[NamedObject]
    model: ModelInfo
    options: dict[str, Any]
    timing_ms: dict[str, PixelLength]


class NamedPointsOfSeveral(NamedPointsFound, OneOfSeveral):
    """The answer to one of several pictures."""


NamedResult = NamedPointsOfSeveral | ProblemOfSeveral


class NamedResults(BaseModel):
    """The answer to several pictures, in the order in which they were sent."""

    results: list[NamedResult]


class ExpectedLandmark(BaseModel):
    """expected: the share of the annotated photographs on which it was found; null: not known."""

    name: str
    expected: Figure | None


class LandmarkSetCard(BaseModel):
    """A landmark set. usable: whether it belongs to the network that answers."""

    name: str
    category: str
    network: str
    references: int
    landmarks: list[ExpectedLandmark]
    skeleton: list[tuple[int, int]]
    usable: bool = True


class LandmarkSets(BaseModel):
    """The sets at hand. broken: files that can't be read, and why."""

    landmark_sets: list[LandmarkSetCard]
    broken: dict[str, str] = {}
    writable: bool = False


def wire_landmark(point: "Landmark") -> WireLandmark:
    return WireLandmark(**asdict(point))


def named_answer(
    objects: "Sequence[Named]",
    model: "Model",
    request_id: str,
    timing_ms: dict[str, float] | None = None,
) -> NamedPointsFound:
    """The JSON of one picture; `timing_ms`: the first object's if not given."""
    first = objects[0]
    entries = [_object(entry) for entry in objects]
    options = asdict(first.options)
    return NamedPointsFound(
        id=request_id,
        image=ImageSize(width=first.width, height=first.height),
        **dict(entries[0]),
        skeleton=list(first.skeleton),
        objects=entries,
        model=model_info(model),
        options={name: options[name] for name in LANDMARK_OPTIONS},
        timing_ms=dict(first.timing_ms) if timing_ms is None else timing_ms,
    )


def _object(named: "Named") -> NamedObject:
    return NamedObject(
        landmarks=[wire_landmark(point) for point in named.landmarks],
        bbox=named.bbox,
        roi=named.options.roi,
        prediction=prediction(named.top),
    )
