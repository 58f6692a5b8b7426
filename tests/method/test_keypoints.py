import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests import oracle
from weakpoints.method.keypoints import (
    contrast_normalised,
    corner_likelihood,
    kept_count,
    local_maxima,
    ranked,
)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.sampled_from([-np.inf, -3.0, -1.0, -1.0, 0.0]),
    ),
    st.integers(1, 3),
)
def test_local_maxima_are_those_of_the_double_loop_plateaus_included(
    score: np.ndarray, radius: int
) -> None:
    assert [tuple(p) for p in local_maxima(score, radius)] == oracle.local_maxima(score, radius)


def test_local_maxima_of_a_rough_map_are_those_of_the_double_loop(rng: np.random.Generator) -> None:
    score = -rng.random((40, 31))
    found = local_maxima(score, 3)
    assert [tuple(p) for p in found] == oracle.local_maxima(score, 3)
    strengths = score[found[:, 1], found[:, 0]]
    assert (np.diff(strengths) <= 0).all()


def test_a_map_without_a_finite_value_has_no_maxima() -> None:
    assert local_maxima(np.full((4, 5), -np.inf), 2).shape == (0, 2)


def test_the_soft_threshold_keeps_a_share_and_at_most_the_limit() -> None:
    assert kept_count(11, keep=0.4, limit=100) == 5
    assert kept_count(11, keep=0.4, limit=2) == 2
    assert kept_count(1, keep=0.01, limit=9) == 1
    assert kept_count(0, keep=0.4, limit=9) == 0


def test_a_corner_is_likelier_than_an_edge_and_nothing_is_located_on_a_plain() -> None:
    square = np.full((60, 60), 40, np.float32)
    square[20:, 20:] = 200
    likelihood = corner_likelihood(cv2.GaussianBlur(square, (0, 0), 1.5))
    y, x = np.unravel_index(likelihood.argmax(), likelihood.shape)
    assert likelihood.max() == 0
    assert max(abs(x - 20), abs(y - 20)) <= 1
    assert likelihood[50, 20] < -3, "an edge, twenty times less"
    assert np.isneginf(likelihood[5, 5])
    assert np.isneginf(corner_likelihood(np.full_like(square, 90))).all()


def test_of_two_like_corners_the_one_amid_a_texture_is_less_likely() -> None:
    picture = np.full((60, 120), 110, np.float32)
    picture[:, 60:] = np.where(np.arange(60) // 5 % 2, 0, 255)[:, None]
    picture[19:41, 79:101] = 110  # a hole for the second square
    picture[25:35, 25:35] = picture[25:35, 85:95] = 150
    blurred = cv2.GaussianBlur(picture, (0, 0), 1.5)
    likelihood = contrast_normalised(corner_likelihood(blurred), blurred, 1.5)
    assert likelihood.max() == 0
    alone, amid = (likelihood[24:36, left : left + 12].max() for left in (24, 84))
    assert amid < alone - 0.3
    plain = np.full((20, 20), 90, np.float32)
    assert np.isneginf(contrast_normalised(corner_likelihood(plain), plain, 1.5)).all()


def test_peaks_are_ranked_by_another_score_and_ties_as_ever(rng: np.random.Generator) -> None:
    peaks, score = (
        np.array([[0, 1], [2, 0], [1, 0], [2, 1]]),
        np.array([[0.0, 5, 5], [9, 0, -np.inf]]),
    )
    assert ranked(peaks, score).tolist() == [[0, 1], [1, 0], [2, 0], [2, 1]]
    own = rng.random((30, 30))
    np.testing.assert_array_equal(ranked(local_maxima(own, 2), own), local_maxima(own, 2))
    assert ranked(peaks[:0], score).shape == (0, 2)
