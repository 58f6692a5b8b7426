"""What each part of the default adds on one network.

    python -m benchmarks.parts --network NAME --manifest FILE --annotations FILE
        --images DIR --classes DIR

corners: the photograph's corners alone.
guided: and the fine map of `fine=mirrored`.
contrast: and that of `fine=contrast` in its place.
coarse: and the coarse map.
rarity: and rarity. This is the whole default.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weakpoints.evaluation.arrays import Array
from weakpoints.evaluation.matching import match, summary
from weakpoints.evaluation.pairs import Composition, choose_cases, compose
from weakpoints.evaluation.photographs import Landmarked, folders_by_class, read, read_coco
from weakpoints.loading import load_detector
from weakpoints.method.detector import Detector
from weakpoints.method.frame import network_input
from weakpoints.method.guided import guided_maps
from weakpoints.method.peaks import find_peaks, scene_of
from weakpoints.method.rarity import log_rarity
from weakpoints.method.suppression import sigma_of
from weakpoints.options import choose

ALPHA = 0.1
PARTS = ("corners", "guided", "contrast", "coarse", "rarity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, action="append", default=[])
    parser.add_argument("--images", type=Path, action="append", default=[], help="one a file")
    parser.add_argument("--classes", type=Path, required=True, help="a folder of class folders")
    parser.add_argument("--pairs", type=int, default=48)
    args = parser.parse_args()
    detector = load_detector(args.manifest, args.network, "cpu")
    marked = [
        photograph
        for file, folder in zip(args.annotations, args.images, strict=True)
        for photograph in read_coco(file, folder)
    ]
    cases = choose_cases(folders_by_class(args.classes, detector.model.labels), args.pairs)
    landmarks = [f1(marks, points(detector, read(marks.path), None)) for marks in marked]
    shares = [on_asked(case, detector) for case in cases]
    sets = [marks.source for marks in marked]
    print(json.dumps(figures(args.network, landmarks, sets, shares), indent=1))


def points(detector: Detector, image: NDArray[np.uint8], target: int | None) -> dict[str, Array]:
    """(N, 2) of each part, as many for each."""
    whole = detector.locate(image, choose(target_class=target))
    (explained,), options = whole.explained, whole.options
    x, frame = network_input(image, detector.input, options.fit, None)
    trace = detector.network.trace(torch.from_numpy(x))
    guided = guided_maps(detector.network, trace, [explained.target], rule="mirrored")[0]
    contrast, coarse, none = explained.maps.fine, explained.maps.coarse, np.zeros_like(guided)
    rarity = log_rarity(detector.network, trace, frame.inside)
    maps = (
        (none, none, None),
        (none, guided, None),
        (none, contrast, None),
        (coarse, contrast, None),
        (coarse, contrast, rarity),
    )
    points_by_part, scene = {}, scene_of(image, frame, options)
    sigma = sigma_of(contrast, frame, options.combine)  # the same for every part
    for name, (patches, pixels, rare) in zip(PARTS, maps, strict=True):
        score = detector.fused(patches, pixels, frame, options)
        points_by_part[name] = find_peaks(scene, score, sigma, rare).points
    return points_by_part


def f1(photograph: Landmarked, points_by_part: Mapping[str, Array]) -> dict[str, float]:
    """One to one, at ALPHA of the box, points anywhere."""
    radius = ALPHA * photograph.size
    return {name: match(xy, photograph.landmarks, radius).f1 for name, xy in points_by_part.items()}


def on_asked(case: Composition, detector: Detector) -> dict[str, float]:
    """Of each part's points, the share on the photograph that is asked for."""
    first, second = (read(path) for path in case.paths)
    picture, owner = compose(first, second, case.layout, case.corner)
    return shares(points(detector, picture, case.target), owner == case.asked)


def shares(points_by_part: Mapping[str, Array], mine: NDArray[np.bool_]) -> dict[str, float]:
    """Of each part's points; `chance`: the area."""
    limit = np.array(mine.shape[::-1]) - 1
    places = {name: np.rint(xy).astype(int).clip(0, limit).T for name, xy in points_by_part.items()}
    on = {name: float(mine[y, x].mean()) for name, (x, y) in places.items()}
    return on | {"chance": float(mine.mean())}


def figures(
    network: str,
    landmarks: list[dict[str, float]],
    sets: Iterable[str],
    pair_shares: list[dict[str, float]],
) -> dict[str, Any]:
    """Means with intervals: F1 by set, and shares of keypoints on the photograph asked for.

    adds: see `added`.
    """
    by_set: dict[str, Any] = {}
    of = np.array(list(sets))
    for name in sorted(set(of.tolist())):
        rows = [row for row, its in zip(landmarks, of, strict=True) if its == name]
        by_set[name] = {"photographs": len(rows), "f1": summary(rows), "adds": added(rows)}
    return {
        "network": network,
        "alpha": ALPHA,
        "landmarks": by_set,
        "pairs": {"cases": len(pair_shares), **summary(pair_shares), "adds": added(pair_shares)},
    }


def added(rows: list[dict[str, float]]) -> dict[str, Any]:
    """What each part adds to the one before it, in pairs."""
    steps = list(pairwise(PARTS))
    return summary([{part: row[part] - row[before] for before, part in steps} for row in rows])


if __name__ == "__main__":
    main()
