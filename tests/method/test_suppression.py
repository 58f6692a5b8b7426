"""Keypoints keep apart, by the size of the object."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle
from weakpoints.method.frame import frame_of
from weakpoints.method.suppression import REACH, STRENGTH, object_extent, sigma_of, soft_nms

PLACES = st.tuples(st.integers(0, 50), st.integers(0, 50))


@given(st.lists(PLACES, max_size=9, unique=True), st.integers(0, 99), st.floats(0.1, 40))
def test_points_are_taken_as_the_double_loop_takes_them(
    places: list[tuple[int, int]], seed: int, sigma: float
) -> None:
    points = np.array(places, float).reshape(-1, 2)
    likelihoods = -np.random.default_rng(seed).random(len(points)) * 3
    taken, lowered = soft_nms(points, likelihoods, sigma, len(points))
    expected = oracle.soft_nms(points, likelihoods, sigma, STRENGTH)
    assert taken.tolist() == [index for index, _ in expected]
    np.testing.assert_allclose(lowered, [value for _, value in expected], rtol=1e-9, atol=1e-12)


@given(
    st.lists(PLACES, min_size=1, max_size=40),
    st.integers(0, 99),
    st.floats(0.5, 40),
    st.integers(0, 45),
    st.sampled_from([0.25, 1024.0]),
)
def test_likelihoods_never_rise_fewer_are_the_first_and_size_does_not_matter(
    places: list[tuple[int, int]], seed: int, sigma: float, count: int, scale: float
) -> None:
    points = np.array(places, float)
    likelihoods = -np.random.default_rng(seed).random(len(points)) * 3
    taken, lowered = soft_nms(points, likelihoods, sigma, len(points))
    assert sorted(taken.tolist()) == list(range(len(points)))
    assert (np.diff(lowered) <= 0).all()
    assert (lowered <= likelihoods[taken]).all()
    first, _ = soft_nms(points, likelihoods, sigma, count)
    assert first.tolist() == taken[:count].tolist()
    larger, _ = soft_nms(points * scale, likelihoods, sigma * scale, count)
    np.testing.assert_allclose(likelihoods[larger], likelihoods[first], atol=1e-9)


def test_without_reach_the_order_stays_and_of_equal_points_the_first_is_taken() -> None:
    points = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0]])
    likelihoods = np.array([-1.0, -1, -2, -np.inf])
    taken, lowered = soft_nms(points, likelihoods, 0.0, 9)
    assert (taken.tolist(), lowered.tolist()) == ([0, 1, 2, 3], likelihoods.tolist())
    assert soft_nms(points[:0], likelihoods[:0], 5.0, 9)[0].shape == (0,)


def test_a_weaker_point_far_away_goes_before_a_stronger_one_beside_the_first() -> None:
    points, likelihoods = np.array([[0.0, 0], [1, 0], [90, 0]]), np.array([0, -0.1, -0.2])
    taken, lowered = soft_nms(points, likelihoods, 10.0, 3)
    assert taken.tolist() == [0, 2, 1]
    assert lowered[2] == pytest.approx(-0.1 - STRENGTH * np.exp(-1 / 200))


@pytest.mark.parametrize("scale", [1, 4])
def test_the_extent_is_the_longer_side_of_the_evidence_in_pixels_of_the_photograph(
    scale: int,
) -> None:
    fine, frame = np.zeros((224, 224)), frame_of(448 * scale, 224 * scale, 224, "squash", None)
    fine[80:150, 60:160] = 1  # 200 x 70 pixels of a photograph of 448 x 224
    smoothed = (200**2 + 12 * (224 / 14 * 2) ** 2) ** 0.5
    assert object_extent(fine, frame) == pytest.approx(scale * smoothed, rel=0.03)
    assert sigma_of(fine, frame, "corners") == pytest.approx(REACH * object_extent(fine, frame))
    assert sigma_of(fine, frame, "log_sigmoid") == 0, "the paper's points do not keep apart"


def test_without_evidence_there_is_no_extent_and_a_margin_has_none() -> None:
    frame = frame_of(300, 100, 56, "letterbox", None)
    assert object_extent(np.zeros((56, 56)), frame) == 0
    even = np.ones((56, 56))
    assert object_extent(even, frame) == pytest.approx(300, rel=0.02)
    assert object_extent(np.where(frame.inside, 1.0, 9.0), frame) == object_extent(even, frame)
