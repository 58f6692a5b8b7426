"""From photographs to named points: `NamedPoints.find` is one photograph's way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadLandmarkSet, BadOption
from weakpoints.landmarks.annotations import Annotations, Skeleton
from weakpoints.landmarks.confidence import VISIBLE, confidence_of
from weakpoints.landmarks.consensus import Shape
from weakpoints.landmarks.descriptors import (
    GRID,
    Descriptors,
    Layout,
    describe,
    layout_of,
)
from weakpoints.landmarks.finder import Located, find
from weakpoints.landmarks.matching import Reference
from weakpoints.method.detector import Detector
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
class Describer:
    """A detector's network, asked for descriptors alone. One is made for each network, once."""

    detector: Detector

    @cached_property
    def layout(self) -> Layout:
        """It costs a forward pass, on the device, when it is asked for first."""
        with self.detector.device():
            return layout_of(self.detector.network, self.detector.input.side)

    @property
    def layers(self) -> tuple[int, ...]:
        """Raises BadOption where the network has no maps."""
        if not self.layout.layers:
            raise BadOption(
                f"{self.detector.model.name} has no maps, whose cells would be places of the "
                "photograph; named points need another network",
                option="network",
            )
        return self.layout.layers

    def prepare(self, image: NDArray[np.uint8], options: Options, clock: Stopwatch) -> Prepared:
        """A photograph from `decode`, made small, on any thread. Raises BadOption."""
        prepared = self.detector.prepare(image, options, clock, maps=False)
        return replace(prepared, layers=self.layers)

    def look(self, waiting: Sequence[Prepared]) -> list[Evidence]:
        """One forward pass for all that wait. Raises as `Detector.locate` does."""
        passes = self.detector.forward_backward(waiting)
        return [
            self.detector.occlude(prepared, seen)
            for prepared, seen in zip(waiting, passes, strict=True)
        ]

    def descriptors(self, evidence: Evidence) -> Descriptors:
        """Of a photograph that the network has seen, on any thread."""
        return describe(evidence.activations, self.layout.weights)

    def describe(self, image: NDArray[np.uint8], options: Options) -> tuple[Descriptors, Frame]:
        """One photograph's descriptors, and how it lies in the network's input."""
        prepared = self.prepare(image, options, Stopwatch())
        (evidence,) = self.look([prepared])
        return self.descriptors(evidence), prepared.frame

    def reference(
        self,
        image: NDArray[np.uint8],
        places: NDArray[np.float64],
        marked: NDArray[np.bool_],
        options: Options,
    ) -> Reference:
        """A photograph whose landmarks, (L, 2) in its pixels, are known.

        What is outside of the options' `roi` is not marked.
        """
        return self.placed(*self.describe(image, options), places, marked)

    def placed(
        self,
        descriptors: Descriptors,
        frame: Frame,
        places: NDArray[np.float64],
        marked: NDArray[np.bool_],
    ) -> Reference:
        """The same of a photograph that is described already."""
        cells = to_cells(frame, places)
        inside = ((cells > -0.75) & (cells < GRID - 0.25)).all(1)
        known = marked & inside
        return Reference(
            tuple(layer.half().float() for layer in descriptors),  # as a set's file keeps them
            Shape(np.where(known[:, None], cells, GRID / 2), known),
        )


def to_cells(frame: Frame, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels of the photograph -> cells of the grid."""
    return (frame.to_network(places) + 0.5) * GRID / frame.side - 0.5


def to_pixels(frame: Frame, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `to_cells`."""
    return frame.to_image((cells + 0.5) * frame.side / GRID - 0.5)


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
