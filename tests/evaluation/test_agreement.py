"""Figures of many photographs on made cases whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from weakpoints.evaluation.agreement import (
    PlacedPoints,
    chance,
    figures,
    in_boxes,
    near_a_landmark,
    table,
)
from weakpoints.evaluation.baselines import Points, random_points
from weakpoints.evaluation.matching import (
    calibration,
    calibration_error,
)
from weakpoints.evaluation.photographs import Landmarked

MARKS = np.array([[10.0, 10], [50, 10], [90, 40]])


def landmarked(
    marks: np.ndarray = MARKS, names: tuple[str, ...] = ("left_eye", "right_eye", "nose")
) -> Landmarked:
    return Landmarked(Path("a.png"), "cat", (0, 0, 100, 50), marks, names)


# How often K random points find a landmark: K -> at alpha 0.2 and w/h 1, 1.5, 2, then at 0.1 and
# 0.05 and w/h 2.
NOTES = {
    1: (0.107, 0.145, 0.191, 0.053, 0.015),
    5: (0.414, 0.545, 0.631, 0.248, 0.067),
    10: (0.671, 0.788, 0.855, 0.432, 0.137),
    20: (0.876, 0.944, 0.974, 0.673, 0.261),
    40: (0.982, 0.995, 0.999, 0.879, 0.449),
}


@pytest.mark.parametrize(
    ("aspect", "alpha", "column"),
    [(1, 0.2, 0), (1.5, 0.2, 1), (2, 0.2, 2), (2, 0.1, 3), (2, 0.05, 4)],
)
@pytest.mark.parametrize("points", NOTES)
def test_random_points_find_what_the_notes_computed(
    points: int, aspect: float, alpha: float, column: int
) -> None:
    box = (0.0, 0.0, 100.0 * aspect, 100.0)
    marks = np.random.default_rng(3).random((2000, 2)) * box[2:] - 0.5
    photograph = Landmarked(Path(), "car", box, marks, ("x",) * len(marks))
    assert chance(photograph, box, points, alpha).mean() == pytest.approx(
        NOTES[points][column], abs=0.03
    )


BOX = (0.0, 0.0, 100.0, 50.0)


def placed(xy: np.ndarray, score: np.ndarray | None = None) -> PlacedPoints:
    return PlacedPoints(
        landmarked(), BOX, (Points(xy, np.ones(len(xy)) if score is None else score),)
    )


def test_the_table_takes_left_and_right_as_one_and_shows_what_chance_gives() -> None:
    lines = {line["landmark"]: line for line in table([placed(MARKS[:1])])}
    assert (lines["eye"]["found"], lines["eye"]["seen"], lines["nose"]["found"]) == (0.5, 2, 0)
    assert 0 < lines["eye"]["random"] < 0.1
    assert lines["nose"]["interval"] == (0, 0)


def test_perfect_points_have_perfect_figures_and_random_ones_what_chance_gives() -> None:
    perfect = figures([placed(MARKS)] * 2)
    for name in ("recall", "precision", "matched_recall", "f1", "average_precision"):
        assert perfect[name] == {"0.05": 1, "0.1": 1, "0.2": 1}
        assert perfect["interval"][name]["0.1"] == (1, 1)
    assert perfect["corrected_recall"]["0.05"] == 1
    rng = np.random.default_rng(5)
    lucky = figures(
        [PlacedPoints(landmarked(), BOX, tuple(random_points(BOX, 6, rng) for _ in range(100)))] * 2
    )
    assert lucky["corrected_recall"]["0.1"] == pytest.approx(0, abs=0.06)
    assert lucky["points_per_image"] == 6


def test_points_inside_the_boxes_are_counted_beside_the_boxes_share_of_the_area() -> None:
    each = PlacedPoints(
        landmarked(),
        (0.0, 0.0, 100.0, 100.0),
        (Points(np.array([[50.0, 25], [50, 75], [50, 80], [50, 90]]), np.ones(4)),),
    )
    found = in_boxes([each])
    assert (found["share"], found["area"]) == (0.25, 0.5)


def test_confidence_is_set_against_the_share_that_is_near_a_landmark() -> None:
    pairs = near_a_landmark(
        [placed(np.concatenate([MARKS[:1], MARKS[:1] + 40]), np.array([0.9, 0.1]))]
    )
    assert pairs == [(0.9, True), (0.1, False)]
    low, high = calibration(pairs)
    assert (low["confidence"], low["right"], low["keypoints"]) == (0.1, 0, 1)
    assert (high["confidence"], high["right"]) == (0.9, 1)
    assert calibration_error([low, high]) == pytest.approx(0.1)
    rng = np.random.default_rng(0)
    truth = rng.random(20_000)
    assert (
        calibration_error(calibration(list(zip(truth, rng.random(20_000) < truth, strict=True))))
        < 0.015
    )
    assert calibration([]) == []
