"""References against a target: where each landmark could be, by likeness and by votes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weakpoints.landmarks.consensus import Shape
from weakpoints.landmarks.descriptors import (
    Descriptors,
    Rows,
    at_places,
    similarity,
    weighed_by_width,
)
from weakpoints.landmarks.transport import kernel_of, optimal_transport
from weakpoints.landmarks.votes import BLOCKS, block_centres, landmark_maps
from weakpoints.progress import Progress, no_progress

TOGETHER = 8  # references that are compared in one product, at most: memory has a bound


@dataclass(frozen=True)
class Reference:
    """A photograph with landmarks: its descriptors, and where on the grid they are marked."""

    descriptors: Descriptors
    shape: Shape

    @cached_property
    def rows(self) -> Rows:
        """Of its blocks, then of its landmarks: all that a target is compared with.

        Blocks say which of several places is right, a landmark's own row where it is to a cell.
        """
        places = torch.tensor(self.shape.places, dtype=torch.float32)
        blocks = at_places(self.descriptors, block_centres())
        blocks = weighed_by_width(self.descriptors, blocks)
        own = at_places(self.descriptors, places)
        return tuple(torch.cat(layers) for layers in zip(blocks, own, strict=True))


@dataclass(frozen=True)
class Matched:
    """One reference against the target."""

    shape: Shape
    likeness: Tensor  # (L, G * G) of each landmark and the target's cells
    plan: Tensor
    maps: Tensor
    votes: Tensor


def match_all(
    references: Sequence[Reference], target: Descriptors, progress: Progress = no_progress
) -> list[Matched]:
    """Each reference against the target."""
    matched = list[Matched]()
    while len(matched) < len(references):
        progress("landmarks", len(matched), len(references))
        matched += _match(references[len(matched) :][:TOGETHER], target)
    return matched


def extent_of(matched: Sequence[Matched]) -> float:
    """The references' mean, in cells."""
    return float(np.mean([match.shape.extent for match in matched]))


def _match(references: Sequence[Reference], target: Descriptors) -> list[Matched]:
    """All references in one product; the rest one after the other."""
    layers = zip(*(reference.rows for reference in references), strict=True)
    alike = similarity(tuple(torch.cat(layer) for layer in layers), target)
    counts = [BLOCKS**2 + len(reference.shape.places) for reference in references]
    return [
        _transported(reference.shape, part)
        for reference, part in zip(references, torch.split(alike, counts), strict=True)
    ]


def _transported(shape: Shape, alike: Tensor) -> Matched:
    """alike: (B * B + L, G * G) of the reference's blocks and landmarks."""
    likeness = alike[BLOCKS**2 :].clone()
    kernel = kernel_of(alike)
    plan, columns = optimal_transport(kernel[: BLOCKS**2])
    own = kernel[BLOCKS**2 :] * columns
    maps, votes = landmark_maps(plan, own, torch.tensor(shape.places, dtype=torch.float32))
    return Matched(shape, likeness, plan, maps, votes)
