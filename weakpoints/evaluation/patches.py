"""The paper's comparison of occluders, and of colours and scales.

The paper: smaller ones localise better, larger ones change the score more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from weakpoints.evaluation.arrays import Array
from weakpoints.evaluation.matching import summary
from weakpoints.evaluation.photographs import read
from weakpoints.evaluation.records import RecordedRows, Row
from weakpoints.method.detector import Detector
from weakpoints.options import Options

PAPER = ("8/8", "16/8", "16/16", "32/16")  # patch and stride at 224 pixels, in the paper
DENSE = ("16/4",)
SCALES = ("16/8", "32/16")  # for several at once
COLOURS = (1, 4)  # of 16/8, beside the options' own number


def patches(
    detector: Detector, paths: Sequence[Path], options: Options, rows: RecordedRows
) -> dict[str, Any]:
    """One object an occluder.

    Its name is patch/stride at 224 pixels, and it is scaled to the network's side. With +, the maps
    of several.

    half_area: share of the picture that holds half of the coarse map.
    range, deviation: of the map.
    seconds: of the occlusion.
    stable: Spearman correlation with the map of other random colours.
    """
    measured = rows.of(
        {str(path): path for path in paths}, partial(_patches_row, detector, options)
    )
    return {
        "photographs": len(paths),
        **{name: summary([row[name] for row in measured]) for name in measured[0]},
    }


def _patches_row(detector: Detector, options: Options, path: Path) -> Row:
    image = read(path)

    def pair(occluder: str, **chosen: Any) -> tuple[Array, Array, float]:
        """The map, that of other colours, and the seconds of one."""
        patch, stride = (
            max(1, int(length) * detector.input.side // 224) for length in occluder.split("/")
        )
        asked = replace(options, patch=patch, stride=stride, **chosen)
        one, two = (
            detector.locate(image, replace(asked, seed=seed))
            for seed in (options.seed, options.seed + 1)
        )
        inside = one.frame.inside
        return one.maps.coarse[inside], two.maps.coarse[inside], one.timing_ms["occlusion"] / 1000

    maps = {name: pair(name) for name in (*PAPER, *DENSE)}
    several = [maps[name] for name in SCALES]
    maps["+".join(SCALES)] = (
        together(m[0] for m in several),
        together(m[1] for m in several),
        sum(m[2] for m in several),
    )
    maps |= {
        f"16/8, {count} colour{'s'[: count > 1]}": pair("16/8", colours=count) for count in COLOURS
    }
    maps["16/8, a colour for each box"] = pair("16/8", colours=1, fill="per_box")
    return {
        name: {
            "half_area": half_area(one),
            "range": float(np.ptp(one)),
            "deviation": float(one.std()),
            "stable": float(spearmanr(one, two).statistic) if np.ptp(one) and np.ptp(two) else 0.0,
            "seconds": seconds,
        }
        for name, (one, two, seconds) in maps.items()
    }


def together(maps: Iterable[Array]) -> Array:
    """The paper's tool: each over its maximum, and their mean."""
    return np.asarray(np.mean([map_ / max(map_.max(), 1e-12) for map_ in maps], 0))


def half_area(values: Array) -> float:
    """The smallest share of pixels that holds half of the sum; 0.5 for an even map."""
    ordered = np.sort(values.ravel())[::-1].cumsum()
    return (
        float(np.searchsorted(ordered, ordered[-1] / 2) + 1) / len(ordered)
        if ordered[-1] > 0
        else 0.5
    )
