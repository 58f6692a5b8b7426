"""Are the same points found when the photograph changes? Protocol of DeTone et al. 2018, at as many points for everybody."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from app.evaluation.baselines import CORNERS, random_points
from app.evaluation.matching import interval
from app.evaluation.photographs import Progress, detected, read, suppression, whole
from app.evaluation.warps import Warp, warps
from app.options import Options
from app.pipeline import Detector, find_peaks

Array = NDArray[np.float64]
NEAR = 0.01  # of the photograph's longer side: 3 pixels of 300


def repeatability(detector: Detector, paths: tuple[Path, ...], options: Options, progress: Progress) -> dict[str, Any]:
    """One object a method: repeatability (a mean over warps), its interval over photographs, by warp, by class, and the error in pixels.

    `unrefined` are our peaks before Förstner's step. Every method is cut to as many points as ours has on the photograph.
    """
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in progress(paths):
        image, rng = read(path), np.random.default_rng(0)
        before, count = _points(detector, image, options, rng)
        for warp in warps(image.shape[1], image.shape[0], rng):
            after, _ = _points(detector, warp(image), options, rng)
            for name, points in before.items():
                share, error = repeated(points, after[name], warp, image.shape[:2], count)
                rows[name].append({"photograph": str(path), "group": path.parent.name, "warp": warp.name, "share": share, "error": error})
    return {"photographs": len(paths), **{name: _figures(each) for name, each in rows.items()}}


def repeated(points: Array, others: Array, warp: Warp, shape: tuple[int, ...], count: int) -> tuple[float, float]:
    """Share of the points that lie in both pictures and are within NEAR of one of the other's, and the mean distance of those.

    Of each picture's points that the other one shows, the `count` strongest. NaN where there are none.
    """
    there = warp.forward(points)
    here, there = (each[_shown(there, shape)][:count] for each in (points, there))
    others = others[_shown(warp.back(others), shape)][:count]
    if not len(here) or not len(others):
        return (float("nan"), float("nan")) if not len(here) + len(others) else (0.0, float("nan"))
    distances = cdist(there, others)
    nearest = np.concatenate([distances.min(1), distances.min(0)])
    hit = nearest <= NEAR * max(shape)
    return float(hit.mean()), float(nearest[hit].mean()) if hit.any() else float("nan")


def _points(detector: Detector, image: NDArray[np.uint8], options: Options, rng: np.random.Generator) -> tuple[dict[str, Array], int]:
    ours, found = detected(detector, image, options)
    count = len(ours.xy)
    corners = {name: find(image, suppression(found)).xy for name, find in CORNERS.items()}
    unrefined = find_peaks(image, found.frame, found.maps.fused, found.options).points
    return {"ours": ours.xy, "unrefined": unrefined, **corners, "random": random_points(whole(image), count, rng).xy}, count


def _shown(points: Array, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(((points >= -0.5) & (points <= (shape[1] - 0.5, shape[0] - 0.5))).all(1))


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    photographs = _split(rows, "photograph").values()
    shares = np.array([share for share in photographs if share is not None])
    return {
        "repeatability": _mean(shares),
        "interval": interval(shares[:, None]) if len(shares) else None,
        "error_px": _mean([row["error"] for row in rows]),
        "by_warp": _split(rows, "warp"),
        "by_class": _split(rows, "group"),
    }


def _split(rows: list[dict[str, Any]], by: str) -> dict[str, float | None]:
    return {key: _mean([row["share"] for row in rows if row[by] == key]) for key in sorted({row[by] for row in rows})}


def _mean(values: Iterable[float]) -> float | None:
    """None where nothing was measured: the random points of one photograph may never meet again, and JSON has no NaN."""
    measured = [value for value in values if not np.isnan(value)]
    return float(np.mean(measured)) if measured else None
