"""What tells how sure a landmark is, beside the height of its map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.landmarks.consensus import Array, Expected
from weakpoints.landmarks.descriptors import GRID
from weakpoints.landmarks.maps import MAP_BLUR, blurred, covariance_of, neighbours, peaks, read_at
from weakpoints.landmarks.matching import Matched, extent_of
from weakpoints.landmarks.votes import BLOCKS, STEP, votes_back

NEAR = 0.25  # extents: further inside the picture's edge says nothing


@dataclass(frozen=True)
class Clues:
    """What tells how sure a landmark is, (L,) each.

    height: of its map at the point, the mean of the references'. away: from where the others
    expect it; back: from where the point leads back to on the reference; both in extents.
    spread: deviation of its map, in extents. unlike: 1 less the similarity there. edge: how far it
    is from the picture's edge, in extents, at most NEAR: a landmark that is not in the picture is
    looked for where the others expect it, and ends at the edge. references: how many have it
    marked.
    """

    height: Array
    away: Array
    back: Array
    spread: Array
    unlike: Array
    edge: Array
    references: Array


def clues_of(
    matched: Sequence[Matched], maps: Tensor, posterior: Tensor, places: Array, expected: Expected
) -> Clues:
    extent = extent_of(matched)
    covariance = covariance_of(posterior, places)
    known = [match.shape.marked for match in matched]
    back = _marked_mean(_ways_back(matched, places), known)
    alike = _marked_mean([_likeness(match, places) for match in matched], known)
    return Clues(
        read_at(maps, places),
        np.linalg.norm(places - expected.places, axis=1) / extent,
        back,
        np.sqrt(np.trace(covariance, axis1=1, axis2=2)) / extent,
        1 - alike,
        np.minimum(places + 0.5, GRID - 0.5 - places).min(1).clip(0, NEAR * extent) / extent,
        np.sum(known, axis=0).astype(float),
    )


def _ways_back(matched: Sequence[Matched], places: Array) -> list[Array]:
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


def _likeness(matched: Matched, places: Array) -> Array:
    """(L,): the similarity of each landmark and its point."""
    cells, weights = neighbours(torch.from_numpy(places).float())
    return np.asarray((matched.likeness.gather(1, cells) * weights).sum(1).double())


def _marked_mean(values: Sequence[Array], marked: Sequence[NDArray[np.bool_]]) -> Array:
    share = np.stack(marked).astype(float)
    return np.asarray((np.stack(values) * share).sum(0) / np.maximum(share.sum(0), 1))
