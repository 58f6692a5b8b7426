"""From references and a target's descriptors to its landmarks. `find` is all of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.landmarks.consensus import (
    Array,
    Expected,
    Shape,
    predict_from_others,
    trust,
)
from weakpoints.landmarks.descriptors import GRID, Descriptors, Rows, at_places, similarity
from weakpoints.landmarks.transport import kernel_of, optimal_transport
from weakpoints.landmarks.votes import (
    BLOCKS,
    STEP,
    block_centres,
    blurred,
    cell_centres,
    landmark_maps,
    neighbours,
    votes_back,
)
from weakpoints.progress import Progress, no_progress

MAP_BLUR = 0.8  # cells
AGREEMENT_ROUNDS = 3
NEARBY = 0.03  # extents: a point is where most of its map lies around it, not on the one best cell
TOGETHER = 8  # references that are compared in one product, at most: memory has a bound


@dataclass(frozen=True)
class Reference:
    """A photograph with landmarks: its descriptors, and where on the grid they are marked."""

    descriptors: Descriptors
    shape: Shape

    @cached_property
    def rows(self) -> Rows:
        """Of its blocks, then of its landmarks: all that a target is compared with."""
        places = torch.tensor(self.shape.places, dtype=torch.float32)
        return at_places(self.descriptors, torch.cat([block_centres(), places]))


@dataclass(frozen=True)
class Evidence:
    """What tells how sure a landmark is, (L,) each. All but height grow with doubt.

    height: of its map at the point, the mean of the references'. away: from where the others
    expect it; back: from where the point leads back to on the reference; both in extents.
    spread: deviation of its map, in extents. unlike: 1 less the similarity there. references: how
    many have it marked.
    """

    height: Array
    away: Array
    back: Array
    spread: Array
    unlike: Array
    references: Array


@dataclass(frozen=True)
class Located:
    """Landmarks on the target in cells: (L, 2) x, y, their covariance (L, 2, 2), and evidence."""

    places: Array
    covariance: Array
    evidence: Evidence


@dataclass(frozen=True)
class _Matched:
    """One reference against the target."""

    shape: Shape
    likeness: Tensor  # (L, G * G) of each landmark and the target's cells
    plan: Tensor
    maps: Tensor
    votes: Tensor


@torch.inference_mode()
def find(
    references: Sequence[Reference], target: Descriptors, progress: Progress = no_progress
) -> Located:
    """The references' landmarks on the target, all of the same names in the same order.

    A landmark that no reference has marked gets a map without any evidence.
    """
    matched = list[_Matched]()
    while len(matched) < len(references):
        progress("landmarks", len(matched), len(references))
        matched += _match(references[len(matched) :][:TOGETHER], target)
    maps = _summed(matched)
    places, expected = _agree(matched, maps)
    posterior = maps * _around(expected)
    return Located(
        places,
        _covariance(posterior, places),
        _evidence(matched, maps, posterior, places, expected),
    )


def _match(references: Sequence[Reference], target: Descriptors) -> list[_Matched]:
    """All references in one product; the rest one after the other."""
    layers = zip(*(reference.rows for reference in references), strict=True)
    alike = similarity(tuple(torch.cat(layer) for layer in layers), target)
    counts = [BLOCKS**2 + len(reference.shape.places) for reference in references]
    return [
        _transported(reference.shape, part)
        for reference, part in zip(references, torch.split(alike, counts), strict=True)
    ]


def _transported(shape: Shape, alike: Tensor) -> _Matched:
    """alike: (B * B + L, G * G) of the reference's blocks and landmarks."""
    likeness = alike[BLOCKS**2 :].clone()
    kernel = kernel_of(alike)
    plan, columns = optimal_transport(kernel[: BLOCKS**2])
    own = kernel[BLOCKS**2 :] * columns
    maps, votes = landmark_maps(plan, own, torch.tensor(shape.places, dtype=torch.float32))
    return _Matched(shape, likeness, plan, maps, votes)


def _summed(matched: Sequence[_Matched]) -> Tensor:
    """(L, G, G): the references' maps, each landmark's over those that have it marked.

    A reference whose maps are decided counts more: by the square of their mean height.
    """
    marked = torch.from_numpy(np.stack([match.shape.marked for match in matched])).float()
    decided = torch.stack([match.maps.amax((1, 2)).mean() for match in matched]).square()
    shares = marked * decided[:, None]
    shares = shares / shares.sum(0).clamp(min=1e-30)
    maps = torch.stack([match.maps for match in matched])
    return blurred(torch.einsum("rl,rlyx->lyx", shares, maps), MAP_BLUR)


def _agree(matched: Sequence[_Matched], maps: Tensor) -> tuple[Array, Expected]:
    """The maxima of the maps, each looked for again near where the others expect it."""
    places, extent = peaks(maps), _extent(matched)
    away = np.zeros(len(places))
    expected = Expected(places, np.full(len(places), np.inf))
    posterior = maps
    for _ in range(AGREEMENT_ROUNDS):
        weight = trust(_read(maps, places), away)
        said = [predict_from_others(match.shape, places, weight) for match in matched]
        expected = _mean_of(said, matched)
        posterior = maps * _around(expected)
        places = peaks(posterior)
        away = np.linalg.norm(places - expected.places, axis=1) / extent
    return peaks(blurred(posterior, NEARBY * extent)), expected


def _mean_of(said: Sequence[Expected], matched: Sequence[_Matched]) -> Expected:
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


def peaks(maps: Tensor) -> Array:
    """(L, 2) x, y of each map's maximum, to a part of a cell.

    The centroid of the squared 3 x 3 cells around it.
    """
    y, x = np.divmod(maps.flatten(1).argmax(1).numpy(), maps.shape[2])
    padded = np.pad(maps.numpy().astype(float), ((0, 0), (1, 1), (1, 1)))
    line, rows = np.arange(3), np.arange(len(x))
    patch = padded[rows[:, None, None], y[:, None, None] + line[:, None], x[:, None, None] + line]
    weight = np.square(patch / np.maximum(patch.max((1, 2), keepdims=True), 1e-300))
    total = np.maximum(weight.sum((1, 2)), 1e-300)
    dx = (weight.sum(1) * (line - 1)).sum(1) / total
    dy = (weight.sum(2) * (line - 1)).sum(1) / total
    return np.stack([x + dx, y + dy], 1)


def _covariance(posterior: Tensor, places: Array) -> Array:
    """(L, 2, 2) of each landmark's map around its point, a cell's own width with it."""
    weight = posterior.flatten(1).double().numpy()
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-300)
    apart = cell_centres().double().numpy()[None] - places[:, None]
    return np.asarray(np.einsum("ln,lni,lnj->lij", weight, apart, apart) + np.eye(2) / 12)


def _evidence(
    matched: Sequence[_Matched], maps: Tensor, posterior: Tensor, places: Array, expected: Expected
) -> Evidence:
    extent = _extent(matched)
    covariance = _covariance(posterior, places)
    known = [match.shape.marked for match in matched]
    back = _marked_mean(_ways_back(matched, places), known)
    alike = _marked_mean([_likeness(match, places) for match in matched], known)
    return Evidence(
        _read(maps, places),
        np.linalg.norm(places - expected.places, axis=1) / extent,
        back,
        np.sqrt(np.trace(covariance, axis1=1, axis2=2)) / extent,
        1 - alike,
        np.sum(known, axis=0).astype(float),
    )


def _ways_back(matched: Sequence[_Matched], places: Array) -> list[Array]:
    """(L,) extents for each reference: from a landmark to where its point leads back to."""
    nearest = torch.from_numpy(np.rint(places).clip(0, GRID - 1)).long()
    cells = nearest[:, 1] * GRID + nearest[:, 0]
    # All references at once: a blur costs more to begin than to do.
    maps = torch.cat(
        [
            match.plan[:, cells].T.view(-1, BLOCKS, BLOCKS) * votes_back(match.votes, cells)
            for match in matched
        ]
    )
    blocks = peaks(blurred(maps, MAP_BLUR / STEP)).reshape(len(matched), -1, 2)
    back = blocks * STEP + (STEP - 1) / 2
    return [
        np.asarray(np.linalg.norm(place - match.shape.places, axis=1) / match.shape.extent)
        for place, match in zip(back, matched, strict=True)
    ]


def _likeness(matched: _Matched, places: Array) -> Array:
    """(L,): the similarity of each landmark and its point."""
    cells, weights = neighbours(torch.from_numpy(places).float())
    return np.asarray((matched.likeness.gather(1, cells) * weights).sum(1).double())


def _marked_mean(values: Sequence[Array], marked: Sequence[NDArray[np.bool_]]) -> Array:
    share = np.stack(marked).astype(float)
    return np.asarray((np.stack(values) * share).sum(0) / np.maximum(share.sum(0), 1))


def _read(maps: Tensor, places: Array) -> Array:
    """(L,): each map at its place, bilinearly."""
    cells, weights = neighbours(torch.from_numpy(places).float())
    return np.asarray((maps.flatten(1).gather(1, cells) * weights).sum(1).double())


def _extent(matched: Sequence[_Matched]) -> float:
    return float(np.mean([match.shape.extent for match in matched]))
