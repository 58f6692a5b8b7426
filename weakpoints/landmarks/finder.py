"""From references and a target's descriptors to its landmarks. `find` is all of it."""

from collections.abc import Sequence
from dataclasses import dataclass

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
from weakpoints.landmarks.descriptors import GRID, Descriptors, similarity
from weakpoints.landmarks.transport import kernel_of, optimal_transport, uniform
from weakpoints.landmarks.votes import (
    blurred,
    cell_centres,
    landmark_maps,
    neighbours,
    shifted,
)
from weakpoints.progress import Progress, no_progress

MAP_BLUR = 0.8  # cells
AGREEMENT_ROUNDS = 3


@dataclass(frozen=True)
class Reference:
    """A photograph with landmarks: its descriptors, and where on the grid they are marked."""

    descriptors: Descriptors
    shape: Shape


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
    matched = []
    for done, reference in enumerate(references):
        progress("landmarks", done, len(references))
        matched.append(_match(reference, target))
    maps = _summed(matched)
    places, expected = _agree(matched, maps)
    posterior = maps * _around(expected)
    return Located(
        places,
        _covariance(posterior, places),
        _evidence(matched, maps, posterior, places, expected),
    )


def _match(reference: Reference, target: Descriptors) -> _Matched:
    alike = similarity(reference.descriptors, target)
    corners, weights = neighbours(torch.from_numpy(reference.shape.places).float())
    likeness = torch.einsum("lk,lkn->ln", weights, alike[corners])
    plan = optimal_transport(kernel_of(alike), uniform(len(alike)), uniform(alike.shape[1]))
    maps, votes = landmark_maps(plan, torch.from_numpy(reference.shape.places).float())
    return _Matched(reference.shape, likeness, plan, maps, votes)


def _summed(matched: Sequence[_Matched]) -> Tensor:
    """(L, G, G): the references' maps, each landmark's over those that have it marked.

    A reference whose maps are decided counts more: by the square of their mean height.
    """
    marked = torch.from_numpy(np.stack([each.shape.marked for each in matched])).float()
    decided = torch.stack([each.maps.amax((1, 2)).mean() for each in matched]).square()
    shares = marked * decided[:, None]
    shares = shares / shares.sum(0).clamp(min=1e-30)
    maps = torch.stack([each.maps for each in matched])
    return blurred(torch.einsum("rl,rlyx->lyx", shares, maps), MAP_BLUR)


def _agree(matched: Sequence[_Matched], maps: Tensor) -> tuple[Array, Expected]:
    """The maxima of the maps, each looked for again near where the others expect it."""
    places = peaks(maps)
    away = np.zeros(len(places))
    expected = Expected(places, np.full(len(places), np.inf))
    for _ in range(AGREEMENT_ROUNDS):
        weight = trust(_read(maps, places), away)
        each = [predict_from_others(m.shape, places, weight) for m in matched]
        expected = _mean_of(each, matched)
        places = peaks(maps * _around(expected))
        away = np.linalg.norm(places - expected.places, axis=1) / _extent(matched)
    return places, expected


def _mean_of(each: Sequence[Expected], matched: Sequence[_Matched]) -> Expected:
    """What the references that have a landmark marked say on average."""
    marked = np.stack([one.shape.marked for one in matched]).astype(float)
    marked[:, marked.sum(0) == 0] = 1
    share = marked / marked.sum(0)
    places = sum(own[:, None] * one.places for own, one in zip(share, each, strict=True))
    deviation = sum(own * one.deviation for own, one in zip(share, each, strict=True))
    return Expected(np.asarray(places), np.asarray(deviation))


def _around(expected: Expected) -> Tensor:
    """(L, G, G): a Gaussian around each place."""
    places, deviation = (torch.from_numpy(a).float() for a in (expected.places, expected.deviation))
    apart = torch.cdist(places, cell_centres()).square()
    return torch.exp(-apart / (2 * deviation.square()[:, None])).view(-1, GRID, GRID)


def peaks(maps: Tensor) -> Array:
    """(L, 2) x, y of each map's maximum, to a part of a cell.

    The centroid of the squared 3 x 3 cells around it.
    """
    y, x = np.divmod(maps.flatten(1).argmax(1).numpy(), GRID)
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
    known = [each.shape.marked for each in matched]
    back = _marked_mean(_ways_back(matched, places), known)
    alike = _marked_mean([_likeness(each, places) for each in matched], known)
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
    maps = torch.cat([_led_back(each, cells) for each in matched])
    back = peaks(blurred(maps, MAP_BLUR)).reshape(len(matched), -1, 2)
    return [
        np.asarray(np.linalg.norm(own - each.shape.places, axis=1) / each.shape.extent)
        for own, each in zip(back, matched, strict=True)
    ]


def _led_back(matched: _Matched, cells: Tensor) -> Tensor:
    """(L, G, G) over the reference: where each landmark's cell of the target comes from."""
    # From a target's cell, the reference's is at the same offset the other way.
    reversed_votes = matched.votes.flip(1, 2)
    votes = torch.stack(
        [
            shifted(own, cell).flatten()
            for own, cell in zip(reversed_votes, cells.tolist(), strict=True)
        ]
    )
    return (matched.plan[:, cells].T * votes).view(-1, GRID, GRID)


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
    return float(np.mean([each.shape.extent for each in matched]))
