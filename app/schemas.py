"""The JSON of the HTTP API: what a caller may send and what comes back.

Ranges and meanings of options come from `options.Options`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from annotated_types import DocInfo
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    create_model,
    field_validator,
)

from app.errors import BadOption
from app.options import (
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

if TYPE_CHECKING:  # the client reads the wire without torch
    from app.method.localization import ClassScore, Localization, Model

Pixels = Annotated[float, PlainSerializer(lambda value: round(value, 3))]
Figure = Annotated[float, PlainSerializer(lambda value: float(f"{value:.6g}"))]


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


class DetectParameters(DetectQuery):
    """The same as JSON and Python have them: a class may be a number, a list stands for commas."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

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
    refined.
    """

    x: Pixels
    y: Pixels
    confidence: Figure
    log_likelihood: Figure
    coarse: Figure
    fine: Figure
    refined: bool
    target: int
    covariance: tuple[tuple[Figure, Figure], tuple[Figure, Figure]] | None


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
    paths: list[FastPath] = Field(description="a GPU's fast paths, tried when it was loaded")
    host: HostInfo | None
    labels: list[str]


class Detection(BaseModel):
    """The answer to one picture: of each class that was asked for, keypoints strongest first."""

    id: str
    image: ImageSize
    prediction: Prediction
    keypoints: list[WireKeypoint]
    low_evidence: bool
    model: ModelInfo
    options: dict[str, Any]
    timing_ms: dict[str, Pixels]


class OneOfSeveral(BaseModel):
    """Which photograph of a request: its place, from 0, and its name as it was sent."""

    index: int
    filename: str | None


class DetectionOfSeveral(Detection, OneOfSeveral):
    """The answer to one of several pictures."""


class Problem(BaseModel):
    """RFC 9457, with the numbers that a caller needs."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str


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
    found: "Localization", model: "Model", request_id: str, timing_ms: dict[str, float]
) -> Detection:
    """The JSON of one answer; `timing_ms` in milliseconds a stage."""
    return Detection(
        id=request_id,
        image=ImageSize(width=found.width, height=found.height),
        prediction=prediction(found.top),
        keypoints=[WireKeypoint(**asdict(point)) for point in found.keypoints],
        low_evidence=found.low_evidence,
        model=_info(model),
        options=asdict(found.options),
        timing_ms=timing_ms,
    )


def prediction(top: "Sequence[ClassScore]") -> Prediction:
    """The JSON of the likeliest classes, the likeliest first."""
    scores = [ScoredClass(**asdict(score)) for score in top]
    return Prediction(**scores[0].model_dump(), top=scores)


def model_card(model: "Model") -> ModelCard:
    """The JSON of `GET /model`."""
    return ModelCard(
        **_info(model).model_dump(),
        input_side=model.side,
        reason=model.reason,
        paths=[FastPath(**asdict(path)) for path in model.paths],
        host=HostInfo(**asdict(model.host)) if model.host else None,
        labels=list(model.labels),
    )


def _info(model: "Model") -> ModelInfo:
    return ModelInfo(
        name=model.name,
        architecture=model.architecture,
        sha256=model.sha256,
        precision=model.precision,
        device=model.device,
    )
