"""Are the same points found when the photograph changes?

Protocol of DeTone et al. 2018, at as many points for everybody.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from weakpoints.evaluation.arrays import Array, Image
from weakpoints.evaluation.baselines import Points, random_points
from weakpoints.evaluation.matching import Interval, calibration, calibration_error, interval
from weakpoints.evaluation.photographs import (
    ALL,
    corner_detectors,
    detected,
    own_sigma,
    read,
    whole,
)
from weakpoints.evaluation.records import RecordedRows, Row
from weakpoints.evaluation.warps import Warp, warps
from weakpoints.method.detector import Detector
from weakpoints.method.keypoints import kept_count
from weakpoints.method.peaks import find_peaks, scene_of
from weakpoints.options import Options

NEAR = 0.01  # of the photograph's longer side: 3 pixels of 300


def repeatability(
    detector: Detector, paths: Sequence[Path], options: Options, rows: RecordedRows
) -> dict[str, Any]:
    """One object a method: repeatability, a mean over warps, and the error in pixels.

    Repeatability has its interval over photographs, and is given by warp and by class, too. Of
    every method as many points are taken as our options keep on the photograph.

    unrefined: our peaks before Förstner's step.
    behind_ours: by how much ours is more repeatable, photograph by photograph.
    calibration: of our keypoints by confidence, the share that a homography leaves.
    """
    measured = rows.of(
        {str(path): path for path in paths}, partial(_repeatability_row, detector, options)
    )
    groups = [path.parent.name for path in paths]
    bins = calibration([pair for row in measured for pair in row["survived"]])
    methods = [name for name in measured[0] if name != "survived"]
    return {
        "photographs": len(paths),
        **{
            name: _figures([row[name] for row in measured], groups)
            | {"behind_ours": _behind_ours(measured, name)}
            for name in methods
        },
        "calibration": bins,
        "calibration_error": calibration_error(bins),
    }


def _repeatability_row(detector: Detector, options: Options, path: Path) -> Row:
    """By method and warp: the share and the error of `repeated`.

    "survived": the confidence of each of our points, and whether it is found again.
    """
    image, rng = read(path), np.random.default_rng(0)
    before, count = _points(detector, image, options, rng)
    row: Row = {name: defaultdict(list) for name in before} | {"survived": []}
    for warp in warps(image.shape[1], image.shape[0], rng):
        after, _ = _points(detector, warp(image), options, rng)
        for name, points in before.items():
            row[name][warp.name].append(
                repeated(points.xy, after[name].xy, warp, image.shape[:2], count)
            )
        if warp.name == "homography":
            ours = before["ours"].first(count)
            row["survived"] += list(
                zip(
                    ours.score.tolist(),
                    found_again(ours.xy, after["ours"].first(count).xy, warp, image.shape[:2]),
                    strict=True,
                )
            )
    row["survived"] = [
        (confidence, again) for confidence, again in row["survived"] if again is not None
    ]
    return row


def found_again(
    points: Array, others: Array, warp: Warp, shape: tuple[int, ...]
) -> list[bool | None]:
    """Whether each point has one of the other picture's within NEAR.

    It is None if the point is not in that picture.
    """
    there = warp.forward(points)
    near = (cdist(there, others) <= NEAR * max(shape)).any(1)
    return [
        bool(hit) if shown else None for hit, shown in zip(near, _shown(there, shape), strict=True)
    ]


def repeated(
    points: Array, others: Array, warp: Warp, shape: tuple[int, ...], count: int
) -> tuple[float, float]:
    """Share of the points that are found in the other picture, too, and their mean distance.

    Counted are points that lie in both pictures: of each picture's points that the other one shows,
    the `count` strongest. Found is what is within NEAR of one of the other's; the mean distance is
    of those. NaN where there are none.
    """
    there = warp.forward(points)
    there = there[_shown(there, shape)][:count]
    others = others[_shown(warp.back(others), shape)][:count]
    if not len(there) or not len(others):
        return (float("nan"), float("nan")) if not len(there) + len(others) else (0.0, float("nan"))
    distances = cdist(there, others)
    nearest = np.concatenate([distances.min(1), distances.min(0)])
    hit = nearest <= NEAR * max(shape)
    return float(hit.mean()), float(nearest[hit].mean()) if hit.any() else float("nan")


def _points(
    detector: Detector, image: Image, options: Options, rng: np.random.Generator
) -> tuple[dict[str, Points], int]:
    """Each method's points, all of them, and how many our options keep.

    All are needed: a warp takes some out of the picture, and then the next ones count.
    """
    ours, found = detected(detector, image, replace(options, **ALL))
    count = kept_count(len(ours.xy), keep=options.keep, limit=options.max_keypoints)
    scene, sigma = scene_of(image, found.frame, found.options), own_sigma(found)
    peaks = find_peaks(scene, found.maps.fused, sigma)
    points = {
        "ours": ours,
        "unrefined": Points(peaks.points, peaks.log_likelihood),
        **corner_detectors(image, found),
        "random": random_points(whole(image), 2 * count, rng),
    }
    return points, count


def _shown(points: Array, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(((points >= -0.5) & (points <= (shape[1] - 0.5, shape[0] - 0.5))).all(1))


def _figures(photographs: list[Row], groups: list[str]) -> dict[str, Any]:
    """The figures of one method.

    photographs: by warp, (share, error) pairs, with NaN where nothing was measured.
    """
    shares, errors = _tables(photographs)
    warp_of = np.array([warp for warp, pairs in _in_order(photographs[0]) for _ in pairs])
    by_warp = {warp: shares[:, warp_of == warp] for warp, _ in _in_order(photographs[0])}
    of_group = np.array(groups)
    return {
        "repeatability": _mean(shares),
        "error_px": _mean(errors),
        "by_warp": {warp: _mean(found) for warp, found in by_warp.items()},
        "by_class": {group: _mean(shares[of_group == group]) for group in sorted(set(groups))},
        "interval": {
            "repeatability": _interval(shares),
            "error_px": _interval(errors),
            "by_warp": {warp: _interval(found) for warp, found in by_warp.items()},
        },
    }


def _behind_ours(measured: Sequence[Row], name: str) -> dict[str, Any]:
    """Photographs are drawn in pairs: what is hard for both is no difference."""
    ours, theirs = (_tables([row[method] for row in measured])[0] for method in ("ours", name))
    both = ~(np.isnan(ours).all(1) | np.isnan(theirs).all(1))
    less = np.nanmean(ours[both], 1) - np.nanmean(theirs[both], 1)
    return {"mean": _mean(less[:, None]), "interval": _interval(less[:, None])}


def _in_order(photograph: Row) -> list[tuple[str, Any]]:
    """Its warps by name: every photograph has the same ones."""
    return sorted(photograph.items())


def _tables(photographs: list[Row]) -> tuple[Array, Array]:
    """(N, W) shares and (N, W) errors of N photographs under W changes."""
    table = np.array(
        [[pair for _, pairs in _in_order(row) for pair in pairs] for row in photographs], float
    )
    return table[..., 0], table[..., 1]


def _means(figures: Array) -> Array:
    """(N, W) -> (M,) means of the photographs where something was measured."""
    return np.asarray(np.nanmean(figures[~np.isnan(figures).all(1)], 1))


def _mean(figures: Array) -> float | None:
    """The mean over photographs, or None where nothing was measured.

    The random points of one photograph may never meet again, and JSON has no NaN.
    """
    means = _means(figures)
    return float(means.mean()) if len(means) else None


def _interval(figures: Array) -> Interval | None:
    means = _means(figures)
    return interval(means) if len(means) else None
