"""Landmarks together: each is expected where the others say, by how they lay on the reference.

The displacement from reference to target is a Gaussian process over the reference's landmarks: a
shift, an affine map, and a smooth rest (a spline). Each landmark is predicted from the others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Deviations in units of the landmarks' extent, chosen on given photographs.
SHIFT = 3.0
AFFINE = 1.0
REST, REACH = 0.15, 0.6  # of the spline, and how far it is alike
NOISE = 0.02  # of a point that is found with full weight
FLOOR = 0.1  # no prediction is surer than this
FAR = 0.1  # a point this far from its prediction counts half
UNSEEN = 1e-9  # the least weight
SMALLEST = 3.0  # cells: extent of landmarks that lie on one another


@dataclass(frozen=True)
class Shape:
    """The landmarks of one reference: (L, 2) in cells, and which of them are marked."""

    places: Array
    marked: NDArray[np.bool_]

    @property
    def extent(self) -> float:
        known = self.places[self.marked]
        longest = float(np.ptp(known, axis=0).max()) if len(known) else 0.0
        return max(longest, SMALLEST)

    @property
    def unit(self) -> Array:
        """(L, 2): the places from their middle, in extents."""
        middle = self.places[self.marked].mean(0) if self.marked.any() else np.zeros(2)
        return np.asarray((self.places - middle) / self.extent)


@dataclass(frozen=True)
class Expected:
    """Where each landmark should be, (L, 2), and with which deviation, (L,): in cells."""

    places: Array
    deviation: Array


def predict_from_others(shape: Shape, points: Array, weight: Array) -> Expected:
    """Each landmark from the others' points, which count by weights in [0, 1] (leave one out)."""
    unit, extent = shape.unit, shape.extent
    noise = NOISE**2 / np.maximum(weight, UNSEEN)
    # A landmark that is not marked has nothing to do with the others: it neither says nor hears.
    together = np.outer(shape.marked, shape.marked) | np.eye(len(unit), dtype=bool)
    precision = np.linalg.inv(_covariance(unit, unit) * together + np.diag(noise))
    own = np.diag(precision)
    moved = (points - shape.places) / extent
    # Rasmussen and Williams 2006, equations 5.12: all leave-one-out predictions from one inverse.
    shift = moved - (precision @ moved) / own[:, None]
    variance = np.maximum(1 / own - noise, 0) + FLOOR**2
    return Expected(shape.places + extent * shift, extent * np.sqrt(variance))


def trust(height: Array, away: Array) -> Array:
    """Weights in [0, 1] by the height of each vote, less where a point is far from its prediction.

    away: distance in extents.
    """
    strongest = max(float(height.max(initial=0.0)), 1e-30)
    return np.asarray(height / strongest / (1 + np.square(away / FAR)))


def _covariance(a: Array, b: Array) -> Array:
    apart = np.square(a[:, None] - b[None]).sum(2)
    smooth = REST**2 * np.exp(-apart / (2 * REACH**2))
    return np.asarray(SHIFT**2 + AFFINE**2 * (a @ b.T) + smooth)
