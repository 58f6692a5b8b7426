"""From photographs to named points: `NamedPoints.find` is one photograph's way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadLandmarkSet
from weakpoints.landmarks.annotations import Annotations
from weakpoints.landmarks.coco_parts import Skeleton
from weakpoints.landmarks.confidence import VISIBLE, confidence_of
from weakpoints.landmarks.describer import Describer, to_pixels
from weakpoints.landmarks.descriptors import GRID
from weakpoints.landmarks.finder import Located, find
from weakpoints.landmarks.matching import Reference
from weakpoints.method.frame import Frame
from weakpoints.method.localization import ClassScore, bounding_box
from weakpoints.method.stages import Evidence, Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options
from weakpoints.progress import Progress, no_progress


@dataclass(frozen=True)
class Landmark:
    """A named point in pixels of the photograph: x right, y down.

    confidence: the probability that it is within a tenth of the object's longer side. visible:
    whether that is above the threshold. covariance: of its map, in pixels squared.
    """

    name: str
    x: float
    y: float
    confidence: float
    visible: bool
    covariance: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Named:
    """The landmarks of one object on a photograph of width x height pixels.

    bbox: x, y, w, h from the first to the last visible landmark; None where none is visible.
    top: the likeliest classes of the network. timing_ms: of each stage.
    """

    width: int
    height: int
    landmarks: tuple[Landmark, ...]
    skeleton: Skeleton
    bbox: tuple[float, float, float, float] | None
    top: tuple[ClassScore, ...]
    options: Options
    timing_ms: Mapping[str, float]

    @property
    def xy(self) -> NDArray[np.float64]:
        """(L, 2) pixels of all landmarks, visible or not."""
        return np.array([(point.x, point.y) for point in self.landmarks], float).reshape(-1, 2)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(L,)"""
        return np.array([point.confidence for point in self.landmarks], float)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(L,)"""
        return np.array([point.visible for point in self.landmarks], bool)


@dataclass(frozen=True)
class Pattern:
    """What is looked for: references of one category, for one network.

    network: the SHA-256 of its weights.
    """

    category: str
    names: tuple[str, ...]
    skeleton: Skeleton
    references: tuple[Reference, ...]
    network: str


@dataclass(frozen=True)
class NamedPoints:
    """Finds a pattern's landmarks on photographs. Raises BadLandmarkSet for another network's."""

    describer: Describer
    pattern: Pattern

    def __post_init__(self) -> None:
        model = self.describer.detector.model
        if self.pattern.network != model.sha256:
            raise BadLandmarkSet(
                f"the landmark set was learnt with the network of digest "
                f"{self.pattern.network[:12]}; {model.name} has {model.sha256[:12]}",
                limit=model.sha256,
                actual=self.pattern.network,
            )
        for number, reference in enumerate(self.pattern.references):
            shapes = tuple(tuple(layer.shape) for layer in reference.descriptors)
            if shapes != self.describer.layout.shapes:  # a file that was made by hand
                raise BadLandmarkSet(
                    f"reference {number} of the landmark set has maps of {shapes}; {model.name} "
                    f"has {self.describer.layout.shapes}",
                )

    def named(
        self,
        prepared: Prepared,
        evidence: Evidence,
        options: Options,
        progress: Progress = no_progress,
    ) -> Named:
        """From what the network says to named points, on any thread: the device is not needed."""
        descriptors = self.describer.descriptors(evidence)
        located = find(self.pattern.references, descriptors, progress)
        prepared.clock.lap("landmarks")
        return replace(
            named_points(self.pattern, located, prepared.frame),
            top=evidence.top,
            options=options,
            timing_ms=prepared.clock.timing_ms,
        )

    def find(self, image: NDArray[np.uint8], options: Options) -> Named:
        """One photograph from `decode`. Raises as `Detector.locate` does."""
        return self.find_all(image, [options])[0]

    def find_all(self, image: NDArray[np.uint8], options: Sequence[Options]) -> list[Named]:
        """An object each, such as several `roi`; their forward passes go together."""
        waiting = [self.describer.prepare(image, one, Stopwatch()) for one in options]
        looks = self.describer.look(waiting)
        return [self.named(*thing) for thing in zip(waiting, looks, options, strict=True)]


def named_points(pattern: Pattern, located: Located, frame: Frame) -> Named:
    """The landmarks in pixels, with their confidence."""
    xy = to_pixels(frame, located.places)
    scale = frame.scale * frame.side / GRID  # pixels of the photograph a cell
    covariance = located.covariance * scale[:, None] * scale
    confidence = confidence_of(located.clues)
    known = np.any([reference.shape.marked for reference in pattern.references], axis=0)
    confidence = np.where(known, confidence, 0.0)
    left, top, width, height = frame.box
    low = np.array([left, top]) - 0.5
    high = low + np.array([width, height])
    visible = (confidence >= VISIBLE) & ((xy >= low) & (xy <= high)).all(1)
    xy = np.clip(xy, low + 0.5, high - 0.5)
    landmarks = tuple(
        Landmark(name, x, y, sure, seen, ((a, b), (c, d)))
        for name, (x, y), sure, seen, ((a, b), (c, d)) in zip(
            pattern.names,
            xy.tolist(),
            confidence.tolist(),
            visible.tolist(),
            covariance.tolist(),
            strict=True,
        )
    )
    bbox = bounding_box([(point.x, point.y) for point in landmarks if point.visible])
    return Named(frame.width, frame.height, landmarks, pattern.skeleton, bbox, (), Options(), {})


def pattern_of(annotations: Annotations, references: Sequence[Reference], network: str) -> Pattern:
    return Pattern(
        annotations.category, annotations.names, annotations.skeleton, tuple(references), network
    )
