"""From references and a target's descriptors to its landmarks. `find` is all of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weakpoints.landmarks.clues import Clues, clues_of
from weakpoints.landmarks.consensus import Array, Expected, predict_from_others, trust
from weakpoints.landmarks.descriptors import GRID, Descriptors
from weakpoints.landmarks.maps import (
    MAP_BLUR,
    blurred,
    cell_centres,
    covariance_of,
    peaks,
    read_at,
)
from weakpoints.landmarks.matching import Matched, Reference, extent_of, match_all
from weakpoints.progress import Progress, no_progress

AGREEMENT_ROUNDS = 8  # at most
STILL = 0.01  # cells: a round that moves no point further is the last
NEARBY = 0.03  # extents: a point is where most of its map lies around it, not on the one best cell


@dataclass(frozen=True)
class Located:
    """Landmarks on the target in cells: (L, 2) x, y, their covariance (L, 2, 2), and clues."""

    places: Array
    covariance: Array
    clues: Clues


@torch.inference_mode()
def find(
    references: Sequence[Reference], target: Descriptors, progress: Progress = no_progress
) -> Located:
    """The references' landmarks on the target, all of the same names in the same order.

    A landmark that no reference has marked gets a map without any clues.
    """
    matched = match_all(references, target, progress)
    maps = _summed(matched)
    places, expected = _agree(matched, maps)
    posterior = maps * _around(expected)
    return Located(
        places,
        covariance_of(posterior, places),
        clues_of(matched, maps, posterior, places, expected),
    )


def _summed(matched: Sequence[Matched]) -> Tensor:
    """(L, G, G): the references' maps, each landmark's over those that have it marked.

    A reference whose maps are decided counts more: by the square of their mean height.
    """
    marked = torch.from_numpy(np.stack([match.shape.marked for match in matched])).float()
    decided = torch.stack([match.maps.amax((1, 2)).mean() for match in matched]).square()
    shares = marked * decided[:, None]
    shares = shares / shares.sum(0).clamp(min=1e-30)
    maps = torch.stack([match.maps for match in matched])
    return blurred(torch.einsum("rl,rlyx->lyx", shares, maps), MAP_BLUR)


def _agree(matched: Sequence[Matched], maps: Tensor) -> tuple[Array, Expected]:
    """The maxima of the maps, each looked for again near where the others expect it."""
    places, extent = peaks(maps), extent_of(matched)
    away = np.zeros(len(places))
    expected = Expected(places, np.full(len(places), np.inf))
    posterior = maps
    for _ in range(AGREEMENT_ROUNDS):
        weight = trust(read_at(maps, places), away)
        said = [predict_from_others(match.shape, places, weight) for match in matched]
        expected = _mean_of(said, matched)
        posterior = maps * _around(expected)
        before, places = places, peaks(posterior)
        away = np.linalg.norm(places - expected.places, axis=1) / extent
        if np.abs(places - before).max() < STILL:
            break
    return peaks(blurred(posterior, NEARBY * extent)), expected


def _mean_of(said: Sequence[Expected], matched: Sequence[Matched]) -> Expected:
    """What the references that have a landmark marked say on average.

    Where they do not agree, each landmark is looked for further around: the variance of the mean's
    parts is added (that of a mixture of Gaussians).
    """
    marked = np.stack([match.shape.marked for match in matched]).astype(float)
    marked[:, marked.sum(0) == 0] = 1
    share = marked / marked.sum(0)
    places = np.stack([one.places for one in said])
    mean = (share[..., None] * places).sum(0)
    apart = np.square(places - mean).sum(2) / 2  # of each axis
    variance = np.square([one.deviation for one in said]) + apart
    return Expected(mean, np.sqrt((share * variance).sum(0)))


def _around(expected: Expected) -> Tensor:
    """(L, G, G): a Gaussian around each place."""
    places, deviation = (torch.from_numpy(a).float() for a in (expected.places, expected.deviation))
    apart = torch.cdist(places, cell_centres()).square()
    return torch.exp(-apart / (2 * deviation.square()[:, None])).view(-1, GRID, GRID)
