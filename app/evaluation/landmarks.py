"""Do keypoints lie where people put landmarks? The paper's IV.A and IV.B, beside what chance and corner detectors give."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from app.evaluation.agreement import Placed, figures, in_boxes, near_a_landmark, table
from app.evaluation.baselines import CORNERS, Points, grid_points, random_points, reweighted
from app.evaluation.matching import calibration, calibration_error
from app.evaluation.photographs import ALL, Landmarked, detected, read, suppression, whole
from app.evaluation.records import Row, Rows
from app.method.detector import Detector
from app.options import Options, choose

DRAWS = 100  # of the random points


def landmarks(
    detector: Detector, photographs: Sequence[Landmarked], options: Options, rows: Rows
) -> dict[str, Any]:
    """One object a method, of points inside the annotated boxes; under "whole", of points anywhere, nobody being told the box.

    Each baseline is cut to as many points as ours has on that photograph, the strongest first. recall counts landmarks with any
    point near (the paper's), corrected_recall takes away what as many random points find in the same area, the rest is one to one.
    calibration: of our keypoints by confidence, the share within 0.1 of a landmark.
    """
    names = {f"{each.path} {each.box}": each for each in photographs}
    measured = rows.of(names, partial(_measure, detector, reweighted(detector), options))
    inside, anywhere = (
        {
            name: [
                _placed(photo, row, name, boxed=boxed)
                for photo, row in zip(names.values(), measured, strict=True)
            ]
            for name in measured[0]
        }
        for boxed in (True, False)
    )
    for placed in (inside, anywhere):
        placed["grid"] = [
            Placed(each.photograph, each.area, (grid_points(each.area, each.count),))
            for each in placed["ours"]
        ]
        placed["random"] = [_random(each) for each in placed["ours"]]
    bins = calibration(near_a_landmark(anywhere["ours"]))
    return {
        "photographs": len(names),
        "landmarks": sum(len(each.landmarks) for each in photographs),
        **{name: figures(each) for name, each in inside.items()},
        "whole": {
            name: figures(each) | {"in_box": in_boxes(each)} for name, each in anywhere.items()
        },
        "most_found": table(inside["ours"]),
        "calibration": bins,
        "calibration_error": calibration_error(bins),
    }


def _measure(
    detector: Detector, untrained: Detector, options: Options, photograph: Landmarked
) -> Row:
    """Each method's points, as x, y, score: "inside" the box and "anywhere", no more than ours; and the photograph's "area"."""
    image = read(photograph.path)
    ours, found = detected(detector, image, options)
    methods = {
        "ours": ours,
        "paper": detected(detector, image, choose("paper", **ALL))[0],
        "random_weights": detected(untrained, image, replace(options, **ALL))[0],
        **{name: corners(image, suppression(found)) for name, corners in CORNERS.items()},
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


def _placed(photograph: Landmarked, row: Row, name: str, *, boxed: bool) -> Placed:
    area = photograph.box if boxed else tuple(row[name]["area"])
    return Placed(photograph, area, (Points.of(row[name]["inside" if boxed else "anywhere"]),))


def _random(ours: Placed) -> Placed:
    rng = np.random.default_rng(1)
    return Placed(
        ours.photograph,
        ours.area,
        tuple(random_points(ours.area, ours.count, rng) for _ in range(DRAWS)),
    )
