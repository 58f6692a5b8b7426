"""What is sent and what comes back. A newer service may add fields: they are ignored."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from pydantic import BaseModel


class DetectOptions(TypedDict, total=False):
    """How a photograph is read; the service's `/docs` says what each option means."""

    preset: Literal["default", "paper"]
    target_class: str | int | Sequence[str | int]
    fit: Literal["squash", "letterbox"]
    roi: str
    background: str
    patch: int
    stride: int
    colours: int
    fill: Literal["shared", "per_box"]
    seed: int
    score: Literal["log_odds", "probability", "logit"]
    fine: Literal["contrast", "mirrored", "guided", "gradient"]
    combine: Literal["corners", "log_sigmoid"]
    weight: float
    keep: float
    max_keypoints: int
    nms_radius: int
    top_classes: int


class HeatmapOptions(DetectOptions, total=False):
    """Which map, and how it is drawn."""

    map: Literal["fused", "coarse", "fine"]
    style: Literal["overlay", "colormap", "gray16"]
    keypoints: bool
    size: Literal["image", "network"]
    drawn_class: str | int


class ImageSize(BaseModel):
    """Pixels, after EXIF orientation."""

    width: int
    height: int


class ScoredClass(BaseModel):
    """A class of the network and its probability."""

    class_id: int
    label: str
    probability: float


class Prediction(ScoredClass):
    """The network's own answer; `options["target_class"]` is the class that was explained."""

    top: list[ScoredClass]


class Keypoint(BaseModel):
    """x right, y down, (0, 0) the centre of the top-left pixel.

    target: index of the class that it explains. covariance: of x and y,
    in pixels squared; None where the point was not refined. drop: how much the class score falls
    where boxes cover the point, and its standard error, None from an older service.
    """

    x: float
    y: float
    confidence: float
    log_likelihood: float
    coarse: float
    fine: float
    refined: bool
    target: int
    covariance: tuple[tuple[float, float], tuple[float, float]] | None
    drop: float | None = None
    drop_error: float | None = None


class ModelInfo(BaseModel):
    """The network that answered."""

    name: str
    architecture: str
    sha256: str
    precision: str
    device: str


class FastPath(BaseModel):
    """A fast path of the GPU.

    gain: times faster than without it.
    why: the reason where it is off.
    """

    name: str
    on: bool
    gain: float | None
    why: str | None


class HostInfo(BaseModel):
    """What the network runs on."""

    device_name: str
    device_memory_bytes: int
    driver: str | None
    python: str
    packages: dict[str, str | None]


class ModelCard(ModelInfo):
    """The network that answers, its input side in pixels and its labels."""

    input_side: int
    reason: str
    paths: list[FastPath]
    host: HostInfo | None
    labels: list[str]


class Detection(BaseModel):
    """The answer to one photograph.

    Keypoints of each class that was asked for, strongest first. bbox: x, y, w, h of the first
    class's keypoints; None where it has none.
    """

    id: str
    image: ImageSize
    prediction: Prediction
    keypoints: list[Keypoint]
    bbox: tuple[float, float, float, float] | None
    low_evidence: bool
    model: ModelInfo
    options: dict[str, Any]
    timing_ms: dict[str, float]


class LandmarkOptions(TypedDict, total=False):
    """How a photograph is read for named points; several `roi` are an object each."""

    roi: str | list[str]
    fit: Literal["squash", "letterbox"]
    background: str
    top_classes: int


class Landmark(BaseModel):
    """A named point; x right, y down, (0, 0) the centre of the top-left pixel.

    confidence: the probability that it is within a tenth of the object's longer side. visible:
    false where it is too unsure. covariance: of x and y, in pixels squared.
    """

    name: str
    x: float
    y: float
    confidence: float
    visible: bool
    covariance: tuple[tuple[float, float], tuple[float, float]]


class NamedObject(BaseModel):
    """The landmarks of one object; bbox: x, y, w, h of the visible ones."""

    landmarks: list[Landmark]
    bbox: tuple[float, float, float, float] | None
    roi: tuple[int, int, int, int] | None
    prediction: Prediction


class NamedPoints(NamedObject):
    """The answer to one photograph; `objects` has one for each `roi`, in their order."""

    id: str
    image: ImageSize
    skeleton: list[tuple[int, int]]
    objects: list[NamedObject]
    model: ModelInfo
    options: dict[str, Any]
    timing_ms: dict[str, float]


class ExpectedLandmark(BaseModel):
    """expected: the share of annotated photographs on which it was found, None: not known."""

    name: str
    expected: float | None


class LandmarkSet(BaseModel):
    """A landmark set of the service; usable: whether its network is the one that answers."""

    name: str
    category: str
    network: str
    references: int
    landmarks: list[ExpectedLandmark]
    skeleton: list[tuple[int, int]]
    usable: bool


class LandmarkSets(BaseModel):
    """The sets at hand; broken: those that can't be read, and why."""

    landmark_sets: list[LandmarkSet]
    broken: dict[str, str]
    writable: bool
