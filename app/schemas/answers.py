"""The JSON that comes back."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

if TYPE_CHECKING:  # the client reads the wire without torch
    from weakpoints.method.localization import ClassScore, Localization, Model

PixelLength = Annotated[float, PlainSerializer(lambda value: round(value, 3))]
Figure = Annotated[float, PlainSerializer(lambda value: float(f"{value:.6g}"))]


class ImageSize(BaseModel):
    """Pixels of the photograph, EXIF orientation applied."""

    width: int
    height: int


class ScoredClass(BaseModel):
    """A class of the network and its probability."""

    class_id: int
    label: str
    probability: Figure


class Prediction(ScoredClass):
    """The network's own answer.

    `options.target_class` is what was explained: a class, or a list.
    """

    top: list[ScoredClass]


class WireKeypoint(BaseModel):
    """A point in pixels: x right, y down, (0, 0) is the centre of the top-left pixel.

    confidence: ranks the points, it is no probability (docs/evaluation.md). target: index of the
    class that it explains. covariance: in pixels squared, null where the point is not
    refined. drop: how much the class score falls where boxes cover the point, in log-odds unless
    `score` says otherwise, and drop_error its standard error, null where one box covers it once.
    """

    x: PixelLength
    y: PixelLength
    confidence: Figure
    log_likelihood: Figure
    coarse: Figure
    fine: Figure
    refined: bool
    target: int
    covariance: tuple[tuple[Figure, Figure], tuple[Figure, Figure]] | None
    drop: Figure | None = None
    drop_error: Figure | None = None


class ModelInfo(BaseModel):
    """The network that answered, its precision and its device."""

    name: str
    architecture: str
    sha256: str
    precision: str
    device: str


class FastPath(BaseModel):
    """gain: times faster than without it; why: the reason where it is off."""

    name: str
    on: bool
    gain: float | None
    why: str | None


class HostInfo(BaseModel):
    """What the network runs on; driver: NVIDIA's. packages: versions of those that matter."""

    device_name: str
    device_memory_bytes: int
    driver: str | None
    python: str
    packages: dict[str, str | None]


class ModelCard(ModelInfo):
    """The network that answers, the side of its input in pixels, and its labels."""

    input_side: int
    reason: str = Field(description="why it is this network")
    paths: list[FastPath] = Field(
        description="fast paths, tried when it was loaded: a GPU's, and windows of a graph"
    )
    host: HostInfo | None
    labels: list[str]


class Detection(BaseModel):
    """The answer to one picture: of each class that was asked for, keypoints strongest first.

    bbox: x, y, w, h of the object, from the first to the last keypoint of the first class that was
    asked for, as `/landmarks` has it; null where it has no keypoint.
    """

    id: str
    image: ImageSize
    prediction: Prediction
    keypoints: list[WireKeypoint]
    bbox: tuple[PixelLength, PixelLength, PixelLength, PixelLength] | None
    low_evidence: bool
    model: ModelInfo
    options: dict[str, Any]
    timing_ms: dict[str, PixelLength]


class OneOfSeveral(BaseModel):
    """Which photograph of a request: its place, from 0, and its name as it was sent."""

    index: int
    filename: str | None


class DetectionOfSeveral(Detection, OneOfSeveral):
    """The answer to one of several pictures."""


class Problem(BaseModel):
    """RFC 9457, with the numbers that a caller needs.

    The last two are missing where what came is no HTTP request that could be read.
    """

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    request_id: str | None = None


class ProblemOfSeveral(OneOfSeveral):
    """Why there is no answer to one of several pictures."""

    problem: Problem


Result = DetectionOfSeveral | ProblemOfSeveral


class Results(BaseModel):
    """The answer to several pictures, in the order in which they were sent."""

    results: list[Result]


class Alive(BaseModel):
    """The answer of a probe that is content."""

    status: Literal["ok"] = "ok"


class Live(Alive):
    """The same, with the member that clients of the Open Inference Protocol read."""

    live: Literal[True] = True


class Ready(Alive):
    """The same, with the member that clients of the Open Inference Protocol read."""

    ready: Literal[True] = True


def detection(
    localization: "Localization", model: "Model", request_id: str, timing_ms: dict[str, float]
) -> Detection:
    """The JSON of one answer; `timing_ms` in milliseconds a stage."""
    return Detection(
        id=request_id,
        image=ImageSize(width=localization.width, height=localization.height),
        prediction=prediction(localization.top),
        keypoints=[WireKeypoint(**asdict(point)) for point in localization.keypoints],
        bbox=localization.bbox,
        low_evidence=localization.low_evidence,
        model=model_info(model),
        options=asdict(localization.options),
        timing_ms=timing_ms,
    )


def prediction(top: "Sequence[ClassScore]") -> Prediction:
    """The JSON of the likeliest classes, the likeliest first."""
    scores = [ScoredClass(**asdict(score)) for score in top]
    return Prediction(**scores[0].model_dump(), top=scores)


def model_card(model: "Model") -> ModelCard:
    """The JSON of `GET /model`."""
    return ModelCard(
        **model_info(model).model_dump(),
        input_side=model.side,
        reason=model.reason,
        paths=[FastPath(**asdict(path)) for path in model.paths],
        host=HostInfo(**asdict(model.host)) if model.host else None,
        labels=list(model.labels),
    )


def model_info(model: "Model") -> ModelInfo:
    return ModelInfo(
        name=model.name,
        architecture=model.architecture,
        sha256=model.sha256,
        precision=model.precision,
        device=model.device,
    )
