"""Does the class depend on the keypoints? Discs around them are blurred away, strongest first, and the class is asked again.

Detection occludes with boxes of one colour; here it is a blur, so that the same perturbation does not judge itself.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from app.evaluation.baselines import CORNERS, random_points
from app.evaluation.matching import interval
from app.evaluation.photographs import Progress, detected, read, suppression, whole
from app.options import Options, choose
from app.pipeline import Detector

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
DISC = 0.04  # radius, of the photograph's longer side
BLUR = 0.06  # deviation of the Gaussian, of the longer side
COUNT = 12  # points, or as many as we have
DRAWS = 10


def deletion(detector: Detector, paths: tuple[Path, ...], options: Options, progress: Progress) -> dict[str, Any]:
    """One object a method. deletion and insertion: mean class probability over 0 to COUNT discs, over the clean photograph's.

    Lower deletion and higher insertion are better. rank_correlation (ours): Spearman of confidence and the log-odds that one disc costs.
    """
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    correlations = []
    for path in progress(paths):
        image, rng = read(path), np.random.default_rng(0)
        ours, found = detected(detector, image, options)
        points, target, count = ours.xy[:COUNT], found.target.class_id, len(ours.xy[:COUNT])
        others = {name: find(image, suppression(found)).xy[:count] for name, find in CORNERS.items()}
        paper = detected(detector, image, choose("paper", target_class=target))[0].xy[:count]
        for name, chosen in {"ours": points, "reversed": ours.xy[::-1][:count], "paper": paper, **others}.items():
            rows[name].append(curves(detector, image, chosen, target))
        draws = [curves(detector, image, random_points(whole(image), count, rng).xy, target) for _ in range(DRAWS)]
        rows["random"].append((float(np.mean([d for d, _ in draws])), float(np.mean([i for _, i in draws]))))
        if count > 2:
            single = [deleted(image, ours.xy[i : i + 1])[-1] for i in range(len(ours.xy))]
            probability = np.array([detector.classify(each)[target] for each in single])
            correlations.append(float(spearmanr(ours.score, -probability).statistic) if np.ptp(probability) else 0.0)
    result: dict[str, Any] = {"photographs": len(paths)}
    ours_rows = np.array(rows["ours"])
    for name, each in rows.items():
        values = np.array(each)
        result[name] = {
            "deletion": float(values[:, 0].mean()),
            "insertion": float(values[:, 1].mean()),
            "deletion_interval": interval(values[:, :1]),
            "insertion_interval": interval(values[:, 1:]),
            "behind_ours": {
                "deletion": interval(values[:, :1] - ours_rows[:, :1]),
                "insertion": interval(ours_rows[:, 1:] - values[:, 1:]),
            },
        }
    result["ours"]["rank_correlation"] = float(np.mean(correlations)) if correlations else None
    return result


def curves(detector: Detector, image: Image, points: Array, target: int) -> tuple[float, float]:
    """Areas under the deletion and the insertion curve, over the clean probability."""
    clean = detector.classify(image)[target]
    away = [clean, *(detector.classify(each)[target] for each in deleted(image, points))]
    back = [detector.classify(each)[target] for each in inserted(image, points)]
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
