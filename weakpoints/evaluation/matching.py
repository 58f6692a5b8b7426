"""Points against points: who meets whom within a radius, and the figures made of it.

Points are (N, 2): x, y in pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import bootstrap

from weakpoints.evaluation.arrays import Array

Interval = tuple[float, float]
RESAMPLES = 1000
BINS = 5


@dataclass(frozen=True)
class Match:
    """One photograph's points against its landmarks.

    recall: share of landmarks with any point near, the paper's "found".
    precision, matched_recall and f1: count each point and each landmark once.
    """

    recall: float
    precision: float
    matched_recall: float
    f1: float


def match(points: Array, landmarks: Array, radius: float) -> Match:
    """The figures of these points (N, 2) against these landmarks (M, 2).

    A distance of exactly `radius` is a hit (Tulsiani and Malik's PCK). Without points every figure
    is 0.
    """
    pairs = len(one_to_one(points, landmarks, radius)[0])
    found = float((cdist(landmarks, points) <= radius).any(1).mean()) if len(points) else 0.0
    return Match(
        found,
        pairs / max(len(points), 1),
        pairs / len(landmarks),
        2 * pairs / (len(points) + len(landmarks)),
    )


def one_to_one(
    points: Array, others: Array, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices into both of as many pairs as there can be, no more than `radius` apart.

    Of those, the nearest (Hungarian method).
    """
    distances = cdist(points, others)
    near = distances <= radius
    reward = np.where(
        near, 1 + len(others) + len(points) - distances / max(radius, 1e-12), 0
    )  # one more pair outweighs any distance
    rows, columns = linear_sum_assignment(reward, maximize=True)
    kept = near[rows, columns]
    return rows[kept], columns[kept]


@dataclass(frozen=True)
class Ranked:
    """One photograph's points for `average_precision`.

    hits: whether each point hits a landmark.
    scores: the score of each point.
    landmarks: how many landmarks there are.
    """

    hits: NDArray[np.bool_]
    scores: Array
    landmarks: int


def ranked(points: Array, scores: Array, landmarks: Array, radius: float) -> Ranked:
    """The strongest first, a point takes the nearest landmark in reach that is still free."""
    distances = cdist(points, landmarks)
    hits = np.zeros(len(points), bool)
    for i in np.argsort(-scores, kind="stable"):
        j = int(distances[i].argmin())
        hits[i] = distances[i, j] <= radius
        if hits[i]:
            distances[:, j] = np.inf
    return Ranked(hits, scores, len(landmarks))


def average_precision(photographs: Sequence[Ranked]) -> float:
    """Area under precision over recall, as VOC and COCO do it.

    All photographs' points are in one order of confidence.
    """
    hits, scores = (
        np.concatenate(column)
        for column in zip(*((p.hits, p.scores) for p in photographs), strict=True)
    )
    hit = hits[np.argsort(-scores, kind="stable")]
    precision = hit.cumsum() / np.arange(1, len(hit) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hit].sum() / sum(p.landmarks for p in photographs))


def corrected(share: float, chance: float) -> float:
    """(R - R_chance) / (1 - R_chance): 0 is what chance gives, 1 is perfect."""
    return (share - chance) / (1 - chance) if chance < 1 else 0.0


def interval(values: Array) -> Interval:
    """95 % bootstrap interval of the mean; values: (N,), one of each photograph."""

    def means(drawn: NDArray[np.int64], axis: int = -1) -> Array:
        found: Array = values[drawn].mean(axis)
        return found

    return resampled(len(values), means, vectorized=True)


def resampled(
    photographs: int, statistic: Callable[..., float | Array], vectorized: bool = False
) -> Interval:
    """95 % bootstrap interval of a function of the photographs' indices.

    They are drawn the same each time, so the figures of one run are drawn in pairs. vectorized:
    whether the function takes many draws at once, and the axis of one: a fifth of the time.
    """
    indices = np.arange(photographs)
    if photographs == 1:  # which SciPy refuses
        return (only := float(statistic(indices))), only
    low, high = bootstrap(
        (indices,),
        statistic,
        n_resamples=RESAMPLES,
        vectorized=vectorized,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(low), float(high)


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The mean of each figure over photographs.

    Under "interval": where 95 % of the resampled means lie.
    """
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        **{name: float(column.mean()) for name, column in columns.items()},
        "interval": {name: interval(column) for name, column in columns.items()},
    }


def calibration(points: Sequence[tuple[float, bool]]) -> list[dict[str, Any]]:
    """What each confidence meant: how often points of that confidence were right.

    points: of each point its confidence, and whether it was right. They come in BINS of equal
    number, by confidence. Each bin has its mean confidence, and the share that was right.
    """
    bins = np.array_split(np.array(sorted(points), float).reshape(-1, 2), BINS)
    return [
        {"confidence": c, "right": r, "keypoints": len(part)}
        for part in bins
        if len(part)
        for c, r in [part.mean(0).tolist()]
    ]


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Mean distance of confidence and share, by keypoint (Naeini et al. 2015)."""
    total = sum(part["keypoints"] for part in bins)
    return float(
        sum(part["keypoints"] * abs(part["confidence"] - part["right"]) for part in bins)
        / max(total, 1)
    )
