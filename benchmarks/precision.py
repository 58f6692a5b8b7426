"""What a precision costs in truth and gives in speed.

The same photographs against float32, and pictures a second as more of them wait.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from weakpoints.evaluation.matching import one_to_one
from weakpoints.evaluation.photographs import read
from weakpoints.evaluation.records import ProgressBar
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options

COMPARED_MAPS = ("fused", "coarse", "fine")
FIRST = 20  # keypoints that have to be the same
NEAR_PIXELS = 0.5  # pixels of the photograph


@dataclass(frozen=True)
class Likeness:
    """How alike two answers about one photograph are.

    maps: Spearman's correlation of each map, in the order of MAPS.
    keypoints: the share of the FIRST keypoints that both have within NEAR.
    """

    maps: tuple[float, ...]
    keypoints: float


def precision_fidelity(
    exact: Detector,
    other: Detector,
    paths: Sequence[Path],
    options: Options,
    queued: Sequence[int],
    progress: ProgressBar,
) -> dict[str, Any]:
    """`other` against `exact`, the same network in float32.

    The median and the worst photograph; and the speed of `other` with so many queued.
    """
    rows = []
    for path in progress(paths):
        image = read(path)
        rows.append(likeness(exact.locate(image, options), other.locate(image, options)))
    maps = np.array([result.maps for result in rows])
    same = [result.keypoints for result in rows]
    return {
        "network": other.model.name,
        "device": other.model.device,
        "precision": other.model.precision,
        "photographs": len(rows),
        "spearman": {
            name: {"median": float(np.median(column)), "least": float(column.min())}
            for name, column in zip(COMPARED_MAPS, maps.T, strict=True)
        },
        "same_keypoints": {
            "first": FIRST,
            "within_px": NEAR_PIXELS,
            "mean": statistics.mean(same),
            "least": min(same),
        },
        "images_per_second": {
            str(count): throughput(other, paths, options, count) for count in queued
        },
    }


def likeness(one: Localization, other: Localization) -> Likeness:
    maps = tuple(
        float(spearmanr(getattr(one.maps, name), getattr(other.maps, name), axis=None).statistic)
        for name in COMPARED_MAPS
    )
    points, others = (
        np.array([(p.x, p.y) for p in result.keypoints[:FIRST]]).reshape(-1, 2)
        for result in (one, other)
    )
    return Likeness(
        maps, len(one_to_one(points, others, NEAR_PIXELS)[0]) / max(len(points), len(others), 1)
    )


def throughput(
    detector: Detector, paths: Sequence[Path], options: Options, queued: int
) -> dict[str, float]:
    """Pictures a second: the median of three, and their spread.

    It goes as in the service when so many wait: one pass together, then each in turn.
    """
    images = [read(paths[i % len(paths)]) for i in range(queued)]
    rates = []
    for _ in range(4):
        waiting = [detector.prepare(image, options, Stopwatch()) for image in images]
        start = time.perf_counter()
        for prepared, seen in zip(waiting, detector.forward_backward(waiting), strict=True):
            detector.explain(prepared, detector.occlude(prepared, seen))
        rates.append(queued / (time.perf_counter() - start))
    return {"median": statistics.median(rates[1:]), "spread": max(rates[1:]) - min(rates[1:])}
