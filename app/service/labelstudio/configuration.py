"""What of a labelling configuration matters here: the picture, and the labels that may be used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from xml.etree.ElementTree import Element

from weakpoints.errors import BadAnnotations, BadOption
from weakpoints.landmarks.exports.xml import parse_xml

LONGEST_CONFIGURATION = 256 * 2**10  # characters
POINT_LABELS = {"keypoint", "point"}  # names of a label that is for points without a name
TAG_KINDS = ("KeyPointLabels", "RectangleLabels", "BrushLabels")


@dataclass(frozen=True)
class Label:
    """classes: of the network, which this label stands for. rank: of the point that it is for,
    0 the strongest; None: any.
    """

    value: str
    classes: frozenset[str] = frozenset()
    rank: int | None = None


@dataclass(frozen=True)
class Control:
    """A tag of the configuration: its name, and its labels in their order."""

    name: str
    labels: tuple[Label, ...]

    def of_class(self, wanted: Sequence[str]) -> str | None:
        """The label that stands for the first of the classes; else the first label."""
        for name in wanted:
            for label in self.labels:
                if name == label.value or name in label.classes:
                    return label.value
        return self.labels[0].value if self.labels else None

    def has(self, value: str) -> bool:
        return any(label.value == value for label in self.labels)


@dataclass(frozen=True)
class Configuration:
    """image: name of the `<Image>`; data: the field of a task's data with its address.

    least: confidence of a point that is answered. boxes: whether boxes are. dot: percent of the
    width that a point is wide.
    """

    image: str
    data: str
    points: Control | None
    rectangles: Control | None
    brushes: Control | None
    least: float = 0.0
    boxes: bool = True
    dot: float = field(default=0.6)

    @property
    def takes_unnamed(self) -> bool:
        """Whether a label is for points without a name, of whatever class."""
        labels = self.points.labels if self.points else ()
        return any(label.classes or label.value.casefold() in POINT_LABELS for label in labels)

    def label_of_point(self, rank: int, classes: Sequence[str]) -> str | None:
        """The label of a point without a name, the strongest's rank is 0; None: there is none."""
        for label in self.points.labels if self.points else ():
            named = label.value.casefold() in POINT_LABELS
            if (named or not label.classes.isdisjoint(classes)) and label.rank in (None, rank):
                return label.value
        return None


def read_configuration(text: object) -> Configuration:
    """Raises BadOption for what is no configuration, or has nothing that could be answered."""
    if not isinstance(text, str):
        raise BadOption("no labelling configuration came", option="label_config")
    if len(text) > LONGEST_CONFIGURATION:
        raise BadOption(
            f"the labelling configuration has {len(text)} characters; at most "
            f"{LONGEST_CONFIGURATION} are read",
            option="label_config",
            limit=LONGEST_CONFIGURATION,
            actual=len(text),
        )
    try:
        root = parse_xml(text, "the labelling configuration")
    except BadAnnotations as error:
        raise BadOption(error.detail, option="label_config") from error
    image, tags = _image_tag(root), {kind: _first_tag(root, kind) for kind in TAG_KINDS}
    if image is None:
        raise BadOption("the labelling configuration has no `<Image>`", option="label_config")
    name = image.get("name", "")
    controls = {
        kind: Control(tag.get("name", ""), tuple(_label_names(tag)))
        for kind, tag in tags.items()
        if tag is not None and tag.get("toName") == name
    }
    if not controls:
        raise BadOption(
            f"the labelling configuration has no {', '.join(TAG_KINDS[:-1])} or {TAG_KINDS[-1]} "
            f"for the image {name[:100]!r}: there is nothing to answer",
            option="label_config",
        )
    options = tags["KeyPointLabels"]
    given = {} if options is None else options.attrib
    return Configuration(
        name,
        image.get("value", "").removeprefix("$"),
        controls.get("KeyPointLabels"),
        controls.get("RectangleLabels"),
        controls.get("BrushLabels"),
        least=_percent(given, "model_point_threshold", 0.0),
        boxes=given.get("model_add_bboxes", "true").casefold() != "false",
        dot=_percent(given, "model_point_size", 0.6),
    )


def _image_tag(root: Element) -> Element | None:
    return next(root.iter("Image"), None)


def _first_tag(root: Element, kind: str) -> Element | None:
    return next(root.iter(kind), None)


def _label_names(tag: Element) -> Iterator[Label]:
    for label in tag.iter("Label"):
        classes = (name.strip() for name in label.get("predicted_values", "").split(","))
        rank = label.get("model_index", "")
        number = int(rank) if rank.isdecimal() and len(rank) < 10 else None
        yield Label(label.get("value", ""), frozenset(filter(None, classes)), number)


def _percent(given: dict[str, str], name: str, default: float) -> float:
    """Raises BadOption."""
    text = given.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or not 0 <= value <= 100:
        raise BadOption(
            f"{name} of the labelling configuration is {text[:40]!r}; a number from 0 is expected",
            option=name,
            actual=text[:40],
        )
    return value
