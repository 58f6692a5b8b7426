"""Photographs with landmarks, described once: whole, and with a part of the object cut away."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weakpoints.evaluation.arrays import Image
from weakpoints.evaluation.photographs import read
from weakpoints.evaluation.transfer import SiftFeatures
from weakpoints.landmarks.annotations import Annotations, Marked, check_inside
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.descriptors import Descriptors
from weakpoints.landmarks.matching import Reference
from weakpoints.method.frame import Frame
from weakpoints.options import choose

CUT = 1 / 3  # of the object's width, taken away for the landmarks that can't be seen
LEAST = 32  # pixels that stay


@dataclass(frozen=True)
class Known:
    """A photograph with its landmarks, described once."""

    path: Path
    marked: Marked
    descriptors: Descriptors
    frame: Frame
    reference: Reference

    @property
    def size(self) -> float:
        return _size(self.marked)

    @cached_property
    def image(self) -> Image:
        return read(self.path)

    @cached_property
    def sift(self) -> SiftFeatures:
        return SiftFeatures.of(self.image)


def known_photographs(describer: Describer, annotations: Annotations, images: Path) -> list[Known]:
    """Of each object whose landmarks have an extent, by which errors are measured."""
    return [
        _known(describer, marked, annotations, images)
        for marked in annotations.objects
        if _size(marked) > 0
    ]


def without_a_third(
    describer: Describer, known: Known, side: Literal["left", "right"]
) -> tuple[Descriptors, Frame, NDArray[np.bool_]]:
    """The photograph up to, or from, a third of its landmarks' box, and which of them are gone."""
    places, marked = known.marked.places, known.marked.marked
    left, right = places[marked, 0].min(), places[marked, 0].max()
    height, width, _ = known.image.shape
    if side == "right":
        start, end = 0, int(np.clip(right - CUT * (right - left), LEAST, width))
    else:
        start, end = int(np.clip(left + CUT * (right - left), 0, width - LEAST)), width
    options = choose(roi=(start, 0, end - start, height))
    descriptors, frame = describer.describe(known.image, options)
    gone = (places[:, 0] > end - 0.5) | (places[:, 0] < start - 0.5)
    return descriptors, frame, marked & gone


def _known(describer: Describer, marked: Marked, annotations: Annotations, images: Path) -> Known:
    path = images / marked.file_name
    image = read(path)
    check_inside(marked, annotations.names, (image.shape[1], image.shape[0]), str(path))
    descriptors, frame = describer.describe(image, choose())
    reference = describer.placed(descriptors, frame, marked.places, marked.marked)
    return Known(path, marked, descriptors, frame, reference)


def _size(marked: Marked) -> float:
    """The longer side of the box of its marked landmarks, in pixels."""
    return float(np.ptp(marked.places[marked.marked], axis=0).max())
