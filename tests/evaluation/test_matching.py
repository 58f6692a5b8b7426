"""Points against points on made cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import most_pairs
from weakpoints.evaluation.matching import (
    average_precision,
    corrected,
    interval,
    match,
    one_to_one,
    ranked,
    resampled,
    summary,
)

MARKS = np.array([[10.0, 10], [50, 10], [90, 40]])


def test_perfect_points_score_one_and_points_off_by_a_distance_score_from_that_radius_on() -> None:
    assert match(MARKS, MARKS, 0.0).f1 == 1
    assert match(np.add(MARKS, (3, 4)), MARKS, 4.99).recall == 0
    hit = match(np.add(MARKS, (3, 4)), MARKS, 5.0)
    assert (hit.recall, hit.precision, hit.matched_recall, hit.f1) == (1, 1, 1, 1)


def test_one_point_may_find_two_landmarks_for_the_paper_but_not_one_to_one() -> None:
    found = match(np.array([[30.0, 10]]), MARKS, 20)
    assert (found.recall, found.precision, found.matched_recall, found.f1) == (2 / 3, 1, 1 / 3, 0.5)
    nothing = match(np.zeros((0, 2)), MARKS, 20)
    assert (nothing.recall, nothing.precision, nothing.f1) == (0, 0, 0)


@given(st.integers(0, 2**31), st.integers(0, 5), st.integers(1, 5), st.floats(0.05, 0.8))
def test_no_matching_has_more_pairs(seed: int, points: int, landmarks: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((points, 2)), rng.random((landmarks, 2))
    rows, columns = one_to_one(a, b, radius)
    assert (
        len(rows)
        == len(set(rows))
        == len(set(columns))
        == most_pairs(np.linalg.norm(a[:, None] - b, axis=2) <= radius)
    )
    assert (np.linalg.norm(a[rows] - b[columns], axis=1) <= radius).all()


def test_average_precision_is_the_area_under_the_envelope_over_all_photographs() -> None:
    right, wrong = MARKS[:1], np.array([[70.0, 70]])
    one = ranked(np.concatenate([right, wrong]), np.array([0.9, 0.8]), MARKS[:1], 1.0)
    two = ranked(np.concatenate([wrong, right]), np.array([0.7, 0.6]), MARKS[:1], 1.0)
    assert average_precision([one]) == 1
    assert average_precision([one, two]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    twice = ranked(np.concatenate([right, right]), np.array([0.8, 0.9]), MARKS[:1], 1.0)
    assert twice.hits.tolist() == [False, True], "the weaker is a miss, behind full recall"
    assert average_precision([twice]) == 1
    assert average_precision([ranked(wrong[:0], np.zeros(0), MARKS, 1.0)]) == 0


def test_chance_correction_and_intervals() -> None:
    assert (corrected(0.5, 0.5), corrected(1, 0.5), corrected(0.25, 0.5), corrected(1, 1)) == (
        0,
        1,
        -0.5,
        0,
    )
    rows = np.random.default_rng(1).normal(3, 1, 100)
    low, high = interval(rows)
    assert low < rows.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * rows.std() / 10, rel=0.2)
    assert resampled(100, lambda drawn: float(rows[drawn].mean())) == (low, high)
    assert summary([{"a": 1.0}, {"a": 3.0}]) == {"a": 2, "interval": {"a": (1, 3)}}
