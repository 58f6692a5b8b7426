"""Do keypoints lie where people put landmarks? The paper's IV.A and IV.B, beside what chance and corner detectors give."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from app.evaluation.baselines import CORNERS, Area, Points, grid_points, random_points, reweighted
from app.evaluation.matching import average_precision, corrected, interval, match
from app.evaluation.photographs import Landmarked, Progress, detected, read, suppression, whole
from app.options import Options, choose
from app.pipeline import Detector

ALPHAS = (0.05, 0.1, 0.2)
DRAWS = 100
TABLE_ALPHA = 0.1
BINS = 5
Rows = list[tuple[Landmarked, Area, Points]]


def landmarks(detector: Detector, photographs: tuple[Landmarked, ...], options: Options, progress: Progress) -> dict[str, Any]:
    """One object a method, of points inside the annotated boxes; under "whole", of points anywhere, nobody being told the box.

    Each baseline is cut to as many points as ours has on that photograph, the strongest first. recall counts landmarks with any
    point near (the paper's), corrected_recall takes away what as many random points find in the same area, f1 is one to one.
    """
    inside: dict[str, Rows] = defaultdict(list)
    anywhere: dict[str, Rows] = defaultdict(list)
    untrained = reweighted(detector)
    for photograph in progress(photographs):
        image = read(photograph.path)
        ours, found = detected(detector, image, options)
        methods = {
            "ours": ours,
            "paper": detected(detector, image, choose("paper"))[0],
            "random_weights": detected(untrained, image, options)[0],
            **{name: corners(image, suppression(found)) for name, corners in CORNERS.items()},
        }
        for rows, area, boxed in ((inside, photograph.box, True), (anywhere, whole(image), False)):
            here = {name: points.within(area) if boxed else points for name, points in methods.items()}
            count = len(here["ours"].xy)
            here |= {"grid": grid_points(area, count), "random": random_points(area, count, np.random.default_rng(0))}
            for name, points in here.items():
                rows[name].append((photograph, area, points.first(count)))
    return {
        "photographs": len(photographs),
        "landmarks": sum(len(each.landmarks) for each in photographs),
        **{name: figures(rows) for name, rows in inside.items()},
        "whole": {name: figures(rows) for name, rows in anywhere.items()},
        "most_found": table(inside["ours"]),
        "calibration": calibration(anywhere["ours"]),
    }


def figures(rows: Rows) -> dict[str, Any]:
    """A method's figures, each keyed by alpha, with 95 % intervals over photographs for those that are means over them."""
    result: dict[str, Any] = {"points_per_image": float(np.mean([len(points.xy) for _, _, points in rows])), "interval": defaultdict(dict)}
    for alpha in ALPHAS:
        each = np.array([_row(photograph, area, points, alpha) for photograph, area, points in rows])
        recall, precision, matched, f1, chance = each.mean(0)
        key = str(alpha)
        values = {
            "recall": recall,
            "corrected_recall": corrected(recall, chance),
            "precision": precision,
            "matched_recall": matched,
            "f1": f1,
            "average_precision": average_precision([(p.xy, p.score, photo.landmarks, alpha * photo.size) for photo, _, p in rows]),
        }
        for name, value in values.items():
            result.setdefault(name, {})[key] = float(value)
        result["interval"]["f1"][key] = interval(each[:, 3:4])
        result["interval"]["recall"][key] = interval(each[:, :1])
        result["interval"]["corrected_recall"][key] = interval(each[:, [0, 4]], lambda means: corrected(means[0], means[1]))
    return result


def chance(photograph: Landmarked, area: Area, count: int, alpha: float) -> NDArray[np.float64]:
    """(M,): how often each landmark is found by `count` random points in the area."""
    rng = np.random.default_rng(0)
    hits = [(cdist(photograph.landmarks, random_points(area, count, rng).xy) <= alpha * photograph.size).any(1) for _ in range(DRAWS)]
    return np.asarray(np.mean(hits, 0))


def table(rows: Rows) -> list[dict[str, Any]]:
    """The paper's Table I: how often each landmark is found at 0.1, left and right as one, and how often by random points."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for photograph, area, points in rows:
        near = (cdist(photograph.landmarks, points.xy) <= TABLE_ALPHA * photograph.size).any(1)
        for name, hit, luck in zip(photograph.names, near, chance(photograph, area, len(points.xy), TABLE_ALPHA), strict=True):
            part = "_".join(word for word in name.split("_") if word not in ("left", "right"))
            found[photograph.group, part].append((float(hit), float(luck)))
    lines = [
        {"group": group, "landmark": part, "found": m[0], "random": m[1], "seen": len(hits)}
        for (group, part), hits in found.items()
        for m in [np.mean(hits, 0).tolist()]
    ]
    return sorted(lines, key=lambda line: (line["group"], -line["found"], line["landmark"]))


def calibration(rows: Rows) -> list[dict[str, Any]]:
    """Keypoints in BINS of equal number by their confidence: its mean, and the share within 0.1 of a landmark."""
    pairs = [
        (score, near)
        for photograph, _, points in rows
        for score, near in zip(
            points.score, (cdist(points.xy, photograph.landmarks) <= TABLE_ALPHA * photograph.size).any(1).tolist(), strict=True
        )
    ]
    bins = np.array_split(np.array(sorted(pairs), float).reshape(-1, 2), BINS)
    return [
        {"confidence": c, "near_a_landmark": n, "keypoints": len(each)} for each in bins if len(each) for c, n in [each.mean(0).tolist()]
    ]


def _row(photograph: Landmarked, area: Area, points: Points, alpha: float) -> tuple[float, float, float, float, float]:
    m = match(points.xy, photograph.landmarks, alpha * photograph.size)
    return m.recall, m.precision, m.matched_recall, m.f1, float(chance(photograph, area, len(points.xy), alpha).mean())
