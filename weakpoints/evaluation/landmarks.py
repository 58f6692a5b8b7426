"""Do keypoints lie where people put landmarks?

The paper's IV.A and IV.B, beside what chance and corner detectors give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.evaluation.agreement import (
    RANDOM_DRAWS,
    PlacedPoints,
    f1_scores,
    figures,
    in_boxes,
    less,
    near_a_landmark,
    table,
)
from weakpoints.evaluation.baselines import Points, grid_points, random_points, reweighted
from weakpoints.evaluation.matching import calibration, calibration_error
from weakpoints.evaluation.photographs import (
    ALL,
    Landmarked,
    corner_detectors,
    detected,
    own_sigma,
    read,
    whole,
)
from weakpoints.evaluation.records import RecordedRows, Row
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.method.peaks import find_peaks, scene_of
from weakpoints.options import Options, choose

F1 = Mapping[str, Mapping[str, NDArray[np.float64]]]  # of each method and alpha, by photograph


def landmarks(
    detector: Detector, photographs: Sequence[Landmarked], options: Options, rows: RecordedRows
) -> dict[str, Any]:
    """One object a method, of points inside the annotated boxes; under "whole", of points anywhere.

    Each baseline is cut to as many points as ours has on that photograph, the strongest first.

    recall: counts landmarks with any point near, as the paper does.
    corrected_recall: takes away what as many random points find in the same area.
    The rest of the figures match points and landmarks one to one.
    differences: F1 of one method less that of another, paired.
    by_set: the same for each annotation file. by_class: for each category, F1 only.
    calibration: of our keypoints by confidence, the share within 0.1 of a landmark.
    """
    names = named(photographs)
    measured = rows.of(names, partial(_landmarks_row, detector, reweighted(detector), options))
    inside, anywhere = (
        _methods(list(names.values()), measured, boxed=boxed) for boxed in (True, False)
    )
    bins = calibration(near_a_landmark(anywhere["ours"]))
    f1, whole_f1 = f1_scores(inside), f1_scores(anywhere)
    sets, classes = ([getattr(one, by) for one in names.values()] for by in ("source", "group"))
    return {
        "photographs": len(names),
        "landmarks": sum(len(photograph.landmarks) for photograph in photographs),
        **{name: figures(points) for name, points in inside.items()},
        "whole": {
            name: figures(points) | {"in_box": in_boxes(points)}
            for name, points in anywhere.items()
        },
        "differences": {
            where: {name: less(scores, name) for name in scores}
            for where, scores in (("boxed", f1), ("whole", whole_f1))
        },
        "by_set": _by_part(sets, f1, whole_f1),
        "by_class": _by_part(classes, f1, whole_f1),
        "most_found": table(inside["ours"]),
        "calibration": bins,
        "calibration_error": calibration_error(bins),
    }


def named(photographs: Sequence[Landmarked]) -> dict[str, Landmarked]:
    """By path and box, and a number where several people or sets marked the same box."""
    found: dict[str, Landmarked] = {}
    for photograph in photographs:
        name = f"{photograph.path} {photograph.box}"
        more = (f"{name} {number}" for number in count(2))
        found[next(free for free in chain([name], more) if free not in found)] = photograph
    return found


def _methods(
    photographs: Sequence[Landmarked], measured: Sequence[Row], *, boxed: bool
) -> dict[str, list[PlacedPoints]]:
    """Each method's points on every photograph, in the photographs' order."""
    placed = {
        name: [
            _placed(photo, row, name, boxed=boxed)
            for photo, row in zip(photographs, measured, strict=True)
        ]
        for name in measured[0]
    }
    placed["grid"] = [
        PlacedPoints(ours.photograph, ours.area, (grid_points(ours.area, ours.count),))
        for ours in placed["ours"]
    ]
    placed["random"] = [_random(ours) for ours in placed["ours"]]
    return placed


def _by_part(part_of: Sequence[str], f1: F1, whole_f1: F1) -> dict[str, Any]:
    """Of each part of the photographs: how many, F1 of each method, and ours less the others."""
    found: dict[str, Any] = {}
    for part in sorted(set(part_of)):
        chosen = [i for i, its in enumerate(part_of) if its == part]
        found[part] = {"photographs": len(chosen)}
        for where, scores in (("boxed", f1), ("whole", whole_f1)):
            some = {
                name: {alpha: values[chosen] for alpha, values in by_alpha.items()}
                for name, by_alpha in scores.items()
            }
            found[part][where] = {
                "f1": {
                    name: {alpha: float(values.mean()) for alpha, values in by_alpha.items()}
                    for name, by_alpha in some.items()
                },
                "ours_less": less(some, "ours"),
            }
    return found


def _landmarks_row(
    detector: Detector, untrained: Detector, options: Options, photograph: Landmarked
) -> Row:
    """Each method's points as x, y, score, and the photograph's "area".

    Points are those "inside" the box and those "anywhere"; no method has more than ours.
    `_spread` and `_unspread` say whether `soft_nms` keeps a method's points apart, by our object's
    extent, where its plain name does the other: ours and those of random weights are spread, corner
    detectors are not.
    """
    image = read(photograph.path)
    ours, found = detected(detector, image, options)
    sigma = own_sigma(found)
    guessed = untrained.locate(image, replace(options, **ALL))
    methods = {
        "ours": ours,
        "ours_unspread": _ranked_corners(image, found, found.maps.fused, 0.0),
        "paper": detected(detector, image, choose("paper", **ALL))[0],
        "random_weights": _ranked_corners(image, guessed, guessed.maps.fused, sigma),
        "random_weights_unspread": _ranked_corners(image, guessed, guessed.maps.fused, 0.0),
        "corners": _corners_only(image, found, 0.0),
        "corners_spread": _corners_only(image, found, sigma),
        **corner_detectors(image, found),
    }
    row: Row = {}
    for name, points in methods.items():
        boxed, most = points.within(photograph.box), len(ours.within(photograph.box).xy)
        row[name] = {
            "inside": boxed.first(most).rows(),
            "anywhere": points.first(len(ours.xy)).rows(),
            "area": whole(image),
        }
    return row


def _corners_only(image: NDArray[np.uint8], found: Localization, sigma: float) -> Points:
    """The corners that ours are chosen from, ranked by the corner alone.

    This is what the maps have to beat.
    """
    return _ranked_corners(image, found, np.where(found.frame.inside, 0.0, -np.inf), sigma)


def _ranked_corners(
    image: NDArray[np.uint8], found: Localization, score: NDArray[np.float64], sigma: float
) -> Points:
    """All candidates by this (S, S) score and by the corner, not refined."""
    options = replace(found.options, combine="corners", **ALL)
    peaks = find_peaks(scene_of(image, found.frame, options), score, sigma)
    return Points(peaks.points, peaks.log_likelihood)


def _placed(photograph: Landmarked, row: Row, name: str, *, boxed: bool) -> PlacedPoints:
    area = photograph.box if boxed else tuple(row[name]["area"])
    return PlacedPoints(
        photograph, area, (Points.of(row[name]["inside" if boxed else "anywhere"]),)
    )


def _random(ours: PlacedPoints) -> PlacedPoints:
    rng = np.random.default_rng(1)
    return PlacedPoints(
        ours.photograph,
        ours.area,
        tuple(random_points(ours.area, ours.count, rng) for _ in range(RANDOM_DRAWS)),
    )
