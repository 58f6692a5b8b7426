"""What boxes, weights and the spread of keypoints buy: the curve that a network's defaults lie on.

    python -m benchmarks.trade --network NAME [--manifest FILE] --annotations FILE --images DIR
        --classes DIR --kept DIR [--pairs 48] [--repeats 10] [--deletions 6]

The maps of each photograph are kept in `--kept`, so that a choice of fusion or suppression costs no
forward pass. F1 is one to one at 0.1 of the box; pairs and repeatability are those of
`weakpoints evaluate`. Every method has as many points as ours.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.kept_maps import FINEST_BOXES, MapPicture, MapSetting, map_picture
from benchmarks.trade_landmarks import ALPHA, on_landmarks, ours, recall_of_candidates
from weakpoints.evaluation.arrays import Array, Image
from weakpoints.evaluation.baselines import reweighted
from weakpoints.evaluation.deletion import COUNT, curves
from weakpoints.evaluation.matching import interval
from weakpoints.evaluation.pairs import choose_cases, compose
from weakpoints.evaluation.photographs import (
    folders_by_class,
    read,
    read_coco,
    sample,
)
from weakpoints.evaluation.repeatability import repeated
from weakpoints.evaluation.warps import Warp, warps
from weakpoints.loading import load_detector
from weakpoints.method.detector import Detector

SETTINGS = [
    MapSetting(64, 32, 0.0),
    MapSetting(64, 64, 0.15),
    MapSetting(64, 32, 0.1),
    MapSetting(64, 32, 0.15),
    MapSetting(64, 32, 0.3),
    MapSetting(32, 32, 0.15),
]
DEFAULT = MapSetting(64, 32, 0.15)


def on_asked(seen: MapPicture, mine: NDArray[np.bool_], setting: MapSetting) -> float:
    """The share of the keypoints on the photograph that was asked for."""
    last = np.array(mine.shape[::-1]) - 1
    x, y = np.rint(seen.points(setting, seen.count)).astype(int).clip(0, last).T
    return float(mine[y, x].mean())


def again(seen: list[tuple[Warp | None, MapPicture]], setting: MapSetting) -> float:
    """The mean repeatability of one photograph, the first, under its changes."""
    (_, first), *changed = seen
    frame, before = first.scene.frame, first.points(setting, 2 * first.count)
    shape = (frame.height, frame.width)
    shares = [
        repeated(before, after.points(setting, 2 * first.count), warp, shape, first.count)[0]
        for warp, after in changed
        if warp is not None
    ]
    return float(np.nanmean(shares))


def deletion(
    detector: Detector, seen: list[tuple[Image, int, MapPicture]], setting: MapSetting
) -> Array:
    """(N,) areas under the deletion curve of the COUNT strongest keypoints: less is better."""
    return np.array(
        [
            curves(detector, image, picture.points(setting, picture.count)[:COUNT], target)[0]
            for image, target, picture in seen
        ]
    )


def changes(image: NDArray[np.uint8]) -> Iterator[tuple[Warp | None, NDArray[np.uint8]]]:
    yield None, image
    for warp in warps(image.shape[1], image.shape[0], np.random.default_rng(0)):
        yield warp, warp(image)


def summary(values: Array) -> dict[str, Any]:
    """The mean of (N,) and its 95 % interval over photographs."""
    return {"photographs": len(values), "mean": float(values.mean()), "interval": interval(values)}


def figures(f1: dict[str, Array], sets: Array) -> dict[str, Any]:
    """Of each set and of all: F1 of each method, and ours less it, paired."""
    parts = {name: sets == name for name in sorted(set(sets.tolist()))}
    return {
        part: {
            "photographs": int(chosen.sum()),
            **{
                where: {
                    name: summary(values[chosen, column])
                    | {"ours_less": summary(f1["ours"][chosen, column] - values[chosen, column])}
                    for name, values in f1.items()
                }
                for column, where in enumerate(("whole", "boxed"))
            },
        }
        for part, chosen in (parts | {"all": np.ones(len(sets), bool)}).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    parser.add_argument("--manifest", type=Path, default=Path("model_weights/manifest.json"))
    parser.add_argument("--annotations", type=Path, action="append", default=[])
    parser.add_argument("--images", type=Path, action="append", default=[], help="one a file")
    parser.add_argument("--classes", type=Path, required=True, help="a folder of class folders")
    parser.add_argument("--kept", type=Path, required=True, help="a folder for the maps")
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=10, help="photographs for repeatability")
    parser.add_argument("--deletions", type=int, default=6, help="photographs for deletion")
    args = parser.parse_args()
    detector = load_detector(args.manifest, args.network, "cpu")
    marked = [
        (each, map_picture(detector, read(each.path), None, args.kept))
        for file, folder in zip(args.annotations, args.images, strict=True)
        for each in read_coco(file, folder)
    ]
    blind = reweighted(detector)
    untrained = [
        map_picture(blind, read(each.path), None, args.kept / "random_weights", FINEST_BOXES[:1])
        for each, _ in marked
    ]
    pairs = []
    for case in choose_cases(folders_by_class(args.classes, detector.model.labels), args.pairs):
        first, second = (read(path) for path in case.paths)
        mixed, owner = compose(first, second, case.layout, case.corner)
        pairs.append((map_picture(detector, mixed, case.target, args.kept), owner == case.asked))
    repeats = [
        [
            (warp, map_picture(detector, image, None, args.kept))
            for warp, image in changes(read(path))
        ]
        for path in (sample(args.classes, 22)[: args.repeats] if args.repeats else ())
    ]
    erased = []
    for path in sample(args.classes, 22)[: args.deletions] if args.deletions else ():
        image = read(path)
        target = int(detector.classify(image).argmax())
        erased.append((image, target, map_picture(detector, image, None, args.kept)))
    sets = np.array([each.source for each, _ in marked])
    curve = []
    for setting in SETTINGS:
        f1 = (
            on_landmarks(marked, untrained, setting)
            if setting == DEFAULT
            else ours(marked, setting)
        )
        passes = setting.map(np.zeros((7, 7) if setting.patch == 32 else (6, 6)), 224)[1]
        curve.append(
            {
                "patch": setting.patch,
                "step": setting.step,
                "weight": setting.weight,
                "passes": passes if setting.weight else 0,
                "f1": figures(f1, sets),
                "pairs": summary(np.array([on_asked(*pair, setting) for pair in pairs])),
                "repeatability": summary(np.array([again(each, setting) for each in repeats]))
                if repeats
                else None,
                "deletion": summary(deletion(detector, erased, setting)) if erased else None,
            }
        )
    candidates = summary(recall_of_candidates(marked))
    print(
        json.dumps(
            {"network": args.network, "alpha": ALPHA, "candidates": candidates, "curve": curve},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
