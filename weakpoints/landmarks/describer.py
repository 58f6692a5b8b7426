"""A detector's network, asked what is where: descriptors of photographs, and references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadOption
from weakpoints.landmarks.consensus import Shape
from weakpoints.landmarks.descriptors import (
    GRID,
    Descriptors,
    Layout,
    describe,
    layout_of,
)
from weakpoints.landmarks.matching import Reference
from weakpoints.method.detector import Detector
from weakpoints.method.frame import Frame
from weakpoints.method.stages import Evidence, Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options


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
