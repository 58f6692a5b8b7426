"""Do the maps and the keypoints depend on what the network learnt, and on the class?

Adebayo et al. 2018.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from weakpoints.evaluation.baselines import depth, random_points, reweighted
from weakpoints.evaluation.matching import one_to_one, summary
from weakpoints.evaluation.photographs import detected, read, whole
from weakpoints.evaluation.records import RecordedRows, Row
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.options import Options

NEAR = 0.02  # of the photograph's longer side
SANITY_DRAWS = 20
MAPS = ("coarse", "fine", "fused")


def sanity(
    detector: Detector, paths: Sequence[Path], options: Options, rows: RecordedRows
) -> dict[str, Any]:
    """One object a change: how alike the maps and the keypoints stay. 1 is no change.

    Of each map, the Spearman correlation with the unchanged network's; of the keypoints, the
    one-to-one F1.

    top_N: the last N layers with weights drawn anew, the class kept.
    random_class: another class, the network kept.
    other_colours: how high it can be, for they should change nothing.
    random_points: how low it can be, as many and anywhere, instead of keypoints.
    """
    count = depth(detector.network.layers)
    changed = {
        f"top_{n}": reweighted(detector, n) for n in sorted({1, count // 4, count // 2, count})
    }
    measured = rows.of(
        {str(path): path for path in paths}, partial(_sanity_row, detector, changed, options)
    )
    return {
        "photographs": len(paths),
        "layers": count,
        **{name: summary([row[name] for row in measured]) for name in measured[0]},
    }


def _sanity_row(
    detector: Detector, changed: dict[str, Detector], options: Options, path: Path
) -> Row:
    image = read(path)
    points, found = detected(detector, image, options)
    target, classes = found.target.class_id, len(detector.model.labels)
    rng = np.random.default_rng(list(image[::16, ::16].tobytes()))
    other = int((target + rng.integers(1, classes)) % classes)
    trials = {
        name: (variant, replace(options, target_class=target)) for name, variant in changed.items()
    }
    trials["random_class"] = (detector, replace(options, target_class=other))
    trials["other_colours"] = (detector, replace(options, seed=options.seed + 1))
    row: Row = {
        name: alike(found, variant.locate(image, asked))
        for name, (variant, asked) in trials.items()
    }
    draws = [
        _same_points(points.xy, random_points(whole(image), len(points.xy), rng).xy, image.shape)
        for _ in range(SANITY_DRAWS)
    ]
    return row | {"random_points": {"keypoints": float(np.mean(draws))}}


def alike(one: Localization, two: Localization) -> dict[str, float]:
    """Correlation of the coarse, fine and fused maps, and the F1 of the keypoints."""
    inside = one.frame.inside
    first, second = (
        np.array([(p.x, p.y) for p in seen.keypoints]).reshape(-1, 2) for seen in (one, two)
    )
    maps = {
        name: _correlation(getattr(one.maps, name)[inside], getattr(two.maps, name)[inside])
        for name in MAPS
    }
    return maps | {"keypoints": _same_points(first, second, (one.height, one.width))}


def _same_points(
    first: NDArray[np.float64], second: NDArray[np.float64], shape: tuple[int, ...]
) -> float:
    pairs = len(one_to_one(first, second, NEAR * max(shape))[0])
    return 2 * pairs / max(len(first) + len(second), 1)


def _correlation(a: Any, b: Any) -> float:
    return float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
