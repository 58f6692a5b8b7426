"""Shares of landmarks that are right (PCK), and what confidence says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.evaluation.arrays import Array
from weakpoints.evaluation.matching import calibration, calibration_error, resampled

ALPHAS = (0.05, 0.10, 0.15)
RIGHT = 0.10  # the alpha of confidence and calibration


@dataclass(frozen=True)
class Scored:
    """One case: of each landmark that both sides show, its error over the target's size.

    photograph: the target's number, for intervals.
    """

    photograph: int
    category: str
    error: Array
    confidence: Array
    visible: NDArray[np.bool_]


def pck_figures(scored: Sequence[Scored]) -> dict[str, Any]:
    """PCK over landmarks, and its interval over target photographs."""
    errors = [score.error for score in scored]
    groups = _by_photograph(scored)
    figures: dict[str, Any] = {"pck": {}, "interval": {}}
    for alpha in ALPHAS:
        hits = [np.array([(error <= alpha).sum(), len(error)]) for error in errors]
        totals = np.stack([sum(hits[i] for i in rows) for rows in groups])
        figures["pck"][str(alpha)] = _share(totals)
        figures["interval"][str(alpha)] = resampled(len(totals), partial(_share_of, totals))
    return figures


def _by_photograph(scored: Sequence[Scored]) -> list[list[int]]:
    groups: dict[tuple[str, int], list[int]] = {}
    for number, score in enumerate(scored):
        groups.setdefault((score.category, score.photograph), []).append(number)
    return list(groups.values())


def _share(totals: Array) -> float:
    right, all_of_them = totals.sum(0)
    return float(right / max(all_of_them, 1))


def _share_of(totals: Array, rows: NDArray[np.int64]) -> float:
    return _share(totals[rows])


def confidence_figures(scored: Sequence[Scored]) -> dict[str, Any]:
    error = np.concatenate([score.error for score in scored])
    confidence = np.concatenate([score.confidence for score in scored])
    right = error <= RIGHT
    order = np.argsort(-confidence, kind="stable")
    bins = calibration(list(zip(confidence.tolist(), right.tolist(), strict=True)))
    return {
        "quarters": [float(right[part].mean()) for part in np.array_split(order, 4)],
        "calibration": bins,
        "calibration_error": calibration_error(bins),
    }
