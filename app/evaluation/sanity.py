"""Do the maps and the keypoints depend on what the network learnt and on the class? Adebayo et al. 2018."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from app.evaluation.baselines import layers, reweighted
from app.evaluation.matching import interval, one_to_one
from app.evaluation.photographs import Progress, detected, read
from app.options import Options
from app.pipeline import Detector, Localization

NEAR = 0.02  # of the photograph's longer side
MAPS = ("coarse", "fine", "fused")


def sanity(detector: Detector, paths: tuple[Path, ...], options: Options, progress: Progress) -> dict[str, Any]:
    """One object a change: Spearman correlation of each map with the unchanged network's, and the one-to-one F1 of the keypoints.

    top_N: the last N layers with weights drawn anew, the class kept. random_class: another class, the network kept. 1 is no change.
    """
    depth = layers(detector.network.rows)
    changed = {f"top_{n}": reweighted(detector, n) for n in sorted({1, depth // 4, depth // 2, depth})}
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for path in progress(paths):
        image = read(path)
        _, found = detected(detector, image, options)
        target, classes = found.target.class_id, len(detector.model.labels)
        other = int((target + rng.integers(1, classes)) % classes)
        trials = {name: (each, target) for name, each in changed.items()} | {"random_class": (detector, other)}
        for name, (each, wanted) in trials.items():
            rows[name].append(alike(found, each.locate(image, replace(options, target_class=wanted))))
    return {
        "photographs": len(paths),
        "layers": depth,
        **{
            name: dict(zip((*MAPS, "keypoints"), np.mean(each, 0).tolist(), strict=True))
            | {"keypoints_interval": interval(np.array(each)[:, 3:])}
            for name, each in rows.items()
        },
    }


def alike(one: Localization, two: Localization) -> tuple[float, float, float, float]:
    """Correlation of the coarse, fine and fused maps, and the F1 of the keypoints."""
    inside = one.frame.inside
    first, second = (np.array([(p.x, p.y) for p in each.keypoints]).reshape(-1, 2) for each in (one, two))
    pairs = len(one_to_one(first, second, NEAR * max(one.width, one.height))[0])
    coarse, fine, fused = (_correlation(getattr(one.maps, name)[inside], getattr(two.maps, name)[inside]) for name in MAPS)
    return coarse, fine, fused, 2 * pairs / max(len(first) + len(second), 1)


def _correlation(a: Any, b: Any) -> float:
    return float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
