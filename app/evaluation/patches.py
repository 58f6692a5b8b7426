"""The paper's comparison of occluders: smaller ones localise better, larger ones change the score more."""

import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.evaluation.matching import interval
from app.evaluation.photographs import Progress, read
from app.options import Options
from app.pipeline import Detector

PAPER = ((8, 8), (16, 8), (16, 16), (32, 16))  # patch and stride at 224 pixels, in the paper
MORE = ((8, 4), (16, 4))


def patches(detector: Detector, paths: tuple[Path, ...], options: Options, progress: Progress) -> dict[str, Any]:
    """One object an occluder, named patch/stride at 224 pixels and scaled to the network's side.

    half_area: share of the picture that holds half of the coarse map; range, deviation: of the map; seconds: of the occlusion.
    """
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for path in progress(paths):
        image = read(path)
        for patch, stride in PAPER + MORE:
            side = detector.input.side
            scaled = replace(options, patch=max(1, patch * side // 224), stride=max(1, stride * side // 224))
            start = time.perf_counter()
            found = detector.locate(image, scaled)
            seconds = time.perf_counter() - start
            coarse = found.maps.coarse[found.frame.inside]
            rows[f"{patch}/{stride}"].append((half_area(coarse), float(np.ptp(coarse)), float(coarse.std()), seconds))
    return {
        "photographs": len(paths),
        **{
            name: dict(zip(("half_area", "range", "deviation", "seconds"), np.mean(each, 0).tolist(), strict=True))
            | {"half_area_interval": interval(np.array(each)[:, :1])}
            for name, each in rows.items()
        },
    }


def half_area(values: NDArray[np.float64]) -> float:
    """The smallest share of pixels that holds half of the sum; 0.5 for an even map."""
    ordered = np.sort(values.ravel())[::-1].cumsum()
    return float(np.searchsorted(ordered, ordered[-1] / 2) + 1) / len(ordered) if ordered[-1] > 0 else 0.5
