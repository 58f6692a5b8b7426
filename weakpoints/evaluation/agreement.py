"""Points of many photographs against their landmarks.

The figures of each method, the differences between them, the paper's Table I, and what confidence
means.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from weakpoints.evaluation.arrays import Array
from weakpoints.evaluation.baselines import Points, Rectangle, random_points
from weakpoints.evaluation.matching import (
    Match,
    Ranked,
    average_precision,
    corrected,
    interval,
    match,
    ranked,
    resampled,
)
from weakpoints.evaluation.photographs import Landmarked

ALPHAS = (0.05, 0.1, 0.2)
RANDOM_DRAWS = 100
TABLE_ALPHA = 0.1


@dataclass(frozen=True)
class PlacedPoints:
    """A method's points on one photograph, within an area; several draws if they are random."""

    photograph: Landmarked
    area: Rectangle
    draws: tuple[Points, ...]

    @property
    def count(self) -> int:
        return len(self.draws[0].xy)

    def found(self, alpha: float) -> NDArray[np.float64]:
        """(M,): how often each landmark has a point near."""
        radius = alpha * self.photograph.size
        return np.asarray(
            np.mean(
                [
                    (cdist(self.photograph.landmarks, points.xy) <= radius).any(1)
                    for points in self.draws
                ],
                0,
            )
        )

    def match(self, alpha: float) -> Match:
        """Means over the draws."""
        radius = alpha * self.photograph.size
        matches = [match(points.xy, self.photograph.landmarks, radius) for points in self.draws]
        return Match(*np.mean([astuple(one) for one in matches], 0).tolist())

    def chance(self, alpha: float) -> float:
        """The recall of as many random points."""
        return float(chance(self.photograph, self.area, self.count, alpha).mean())

    def ranked(self, alpha: float) -> list[Ranked]:
        return [
            ranked(points.xy, points.score, self.photograph.landmarks, alpha * self.photograph.size)
            for points in self.draws
        ]


def figures(placed: list[PlacedPoints]) -> dict[str, Any]:
    """A method's figures, each keyed by alpha, and their 95 % intervals over photographs."""
    by_alpha = {str(alpha): _figures(placed, alpha) for alpha in ALPHAS}
    names = by_alpha[str(ALPHAS[0])]
    return {
        "points_per_image": float(np.mean([one.count for one in placed])),
        **{name: {key: found[name][0] for key, found in by_alpha.items()} for name in names},
        "interval": {
            name: {key: found[name][1] for key, found in by_alpha.items()} for name in names
        },
    }


def f1_scores(methods: Mapping[str, Sequence[PlacedPoints]]) -> dict[str, dict[str, Array]]:
    """(N,) of each method and alpha, by photograph."""
    return {
        name: {str(alpha): np.array([one.match(alpha).f1 for one in placed]) for alpha in ALPHAS}
        for name, placed in methods.items()
    }


def less(f1: Mapping[str, Mapping[str, Array]], first: str) -> dict[str, Any]:
    """F1 of one method less that of each other one: the mean, and its interval.

    The interval is over photographs drawn in pairs.
    """
    return {
        second: {
            alpha: {"mean": float(less.mean()), "interval": interval(less)}
            for alpha in f1[first]
            for less in [f1[first][alpha] - f1[second][alpha]]
        }
        for second in f1
        if second != first
    }


def chance(
    photograph: Landmarked, area: Rectangle, count: int, alpha: float
) -> NDArray[np.float64]:
    """(M,): how often each landmark is found by `count` random points in the area."""
    rng = np.random.default_rng(0)
    return PlacedPoints(
        photograph, area, tuple(random_points(area, count, rng) for _ in range(RANDOM_DRAWS))
    ).found(alpha)


def in_boxes(placed: list[PlacedPoints]) -> dict[str, Any]:
    """The share of points inside the annotated boxes (pointing game).

    Beside it, the share of the area that the boxes have.
    """
    shares = np.array(
        [
            np.mean([len(p.within(one.photograph.box).xy) / max(one.count, 1) for p in one.draws])
            for one in placed
        ]
    )
    area = np.mean(
        [
            one.photograph.box[2] * one.photograph.box[3] / (one.area[2] * one.area[3])
            for one in placed
        ]
    )
    return {"share": float(shares.mean()), "interval": interval(shares), "area": float(area)}


def table(placed: list[PlacedPoints]) -> list[dict[str, Any]]:
    """The paper's Table I: how often each landmark is found at 0.1, left and right as one.

    Beside it, how often random points find it, as many of them.
    """
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for one in placed:
        luck = chance(one.photograph, one.area, one.count, TABLE_ALPHA)
        for name, hit, lucky in zip(
            one.photograph.names, one.found(TABLE_ALPHA), luck, strict=True
        ):
            part = "_".join(word for word in name.split("_") if word not in ("left", "right"))
            found[one.photograph.group, part].append((float(hit), float(lucky)))
    lines = [
        {
            "group": group,
            "landmark": part,
            "found": hits[:, 0].mean(),
            "random": hits[:, 1].mean(),
            "seen": len(hits),
            "interval": _span(hits),
        }
        for (group, part), pairs in found.items()
        for hits in [np.array(pairs)]
    ]
    return sorted(lines, key=lambda line: (line["group"], -line["found"], line["landmark"]))


def near_a_landmark(placed: list[PlacedPoints]) -> list[tuple[float, bool]]:
    """Of each point its confidence, and whether it is within 0.1 of a landmark."""
    return [
        (float(score), bool(near))
        for one in placed
        for points in one.draws
        for score, near in zip(
            points.score,
            (cdist(points.xy, one.photograph.landmarks) <= TABLE_ALPHA * one.photograph.size).any(
                1
            ),
            strict=True,
        )
    ]


def _figures(
    placed: list[PlacedPoints], alpha: float
) -> dict[str, tuple[float, tuple[float, float]]]:
    """Each figure and its interval."""
    matches = [one.match(alpha) for one in placed]
    found = {}
    for name in (field.name for field in fields(Match)):
        values = np.array([getattr(one, name) for one in matches])
        found[name] = (float(values.mean()), interval(values))
    recall_and_chance = np.array(
        [(m.recall, p.chance(alpha)) for m, p in zip(matches, placed, strict=True)]
    )
    found["corrected_recall"] = (
        corrected(*recall_and_chance.mean(0).tolist()),
        resampled(len(placed), lambda drawn: corrected(*recall_and_chance[drawn].mean(0).tolist())),
    )
    ranks = [one.ranked(alpha) for one in placed]
    found["average_precision"] = (
        float(np.mean([average_precision(draw) for draw in zip(*ranks, strict=True)])),
        resampled(len(ranks), lambda drawn: average_precision([ranks[i][0] for i in drawn])),
    )
    return found


def _span(hits: NDArray[np.float64]) -> tuple[float, float]:
    return interval(hits[:, 0])
