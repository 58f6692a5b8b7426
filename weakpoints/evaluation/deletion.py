"""Does the class depend on the keypoints?

Discs around them are blurred away, strongest first, and the class is asked again. Detection
occludes with boxes of one colour. Here it is a blur, so that the same perturbation does not judge
itself.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from weakpoints.evaluation.arrays import Array, Image
from weakpoints.evaluation.baselines import random_points
from weakpoints.evaluation.matching import summary
from weakpoints.evaluation.photographs import ALL, corner_detectors, detected, read, whole
from weakpoints.evaluation.records import RecordedRows, Row
from weakpoints.method.detector import Detector
from weakpoints.options import Options, choose

DISC = 0.04  # radius, of the photograph's longer side
BLUR = 0.06  # deviation of the Gaussian, of the longer side
COUNT = 12  # points, or as many as we have
DELETION_DRAWS = 10


def deletion(
    detector: Detector, paths: Sequence[Path], options: Options, rows: RecordedRows
) -> dict[str, Any]:
    """One object a method.

    deletion and insertion: mean class probability over 0 to COUNT discs, divided by the clean
    photograph's. Lower deletion and higher insertion are better.
    behind_ours: by how much ours is better, the area between the curves.
    rank_correlation (ours): Spearman of confidence and the probability that one disc costs.
    """
    measured = rows.of(
        {str(path): path for path in paths}, partial(_deletion_row, detector, options)
    )
    result: dict[str, Any] = {"photographs": len(paths)}
    for name in [name for name in measured[0] if name != "rank_correlation"]:
        pairs = [(row[name], row["ours"]) for row in measured]
        result[name] = summary(
            [{"deletion": theirs[0], "insertion": theirs[1]} for theirs, _ in pairs]
        )
        result[name]["behind_ours"] = summary(
            [
                {"deletion": theirs[0] - our[0], "insertion": our[1] - theirs[1]}
                for theirs, our in pairs
            ]
        )
    correlations = [
        row["rank_correlation"] for row in measured if row["rank_correlation"] is not None
    ]
    result["ours"]["rank_correlation"] = (
        summary([{"mean": correlation} for correlation in correlations]) if correlations else None
    )
    return result


def _deletion_row(detector: Detector, options: Options, path: Path) -> Row:
    """(deletion, insertion) of each method, and the rank correlation."""
    image, rng = read(path), np.random.default_rng(0)
    ours, found = detected(detector, image, options)
    target, count = found.target.class_id, len(ours.xy[:COUNT])
    methods = {
        "ours": ours.xy,
        "reversed": ours.xy[::-1],
        "paper": detected(detector, image, choose("paper", target_class=target, **ALL))[0].xy,
        **{name: points.xy for name, points in corner_detectors(image, found).items()},
    }
    row: Row = {name: curves(detector, image, xy[:count], target) for name, xy in methods.items()}
    draws = [
        curves(detector, image, random_points(whole(image), count, rng).xy, target)
        for _ in range(DELETION_DRAWS)
    ]
    singles = [
        detector.classify(deleted(image, ours.xy[i : i + 1])[-1])[target]
        for i in range(len(ours.xy))
    ]
    correlated = len(singles) > 2 and np.ptp(singles) > 0
    return row | {
        "random": np.mean(draws, 0).tolist(),
        "rank_correlation": float(spearmanr(ours.score, np.negative(singles)).statistic)
        if correlated
        else None,
    }


def curves(detector: Detector, image: Image, points: Array, target: int) -> tuple[float, float]:
    """Areas under the deletion and the insertion curve, over the clean probability."""
    clean = detector.classify(image)[target]
    away = [clean, *(detector.classify(picture)[target] for picture in deleted(image, points))]
    back = [detector.classify(picture)[target] for picture in inserted(image, points)]
    return float(np.mean(away) / clean), float(np.mean(back) / clean)


def deleted(image: Image, points: Array) -> list[Image]:
    """The photograph with the first, the first two, ... discs blurred."""
    soft = blurred(image)
    return [np.where(mask, soft, image) for mask in discs(image, points)]


def inserted(image: Image, points: Array) -> list[Image]:
    """The blurred photograph, then with the first, the first two, ... discs sharp."""
    soft = blurred(image)
    return [soft, *(np.where(mask, image, soft) for mask in discs(image, points))]


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR * max(image.shape)), np.uint8)


def discs(image: Image, points: Array) -> list[NDArray[np.bool_]]:
    """(H, W, 1) masks of the first, the first two, ... discs."""
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    mask, masks = np.zeros(image.shape[:2], bool), []
    for x, y in points:
        mask = mask | ((xs - x) ** 2 + (ys - y) ** 2 <= (DISC * max(image.shape)) ** 2)
        masks.append(mask[..., None])
    return masks
