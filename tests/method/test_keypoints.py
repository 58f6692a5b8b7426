import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests import oracle
from weakpoints.method.keypoints import (
    corner,
    corner_likelihood,
    grey_of,
    local_maxima,
    ranked,
    refine,
    strongest,
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


def test_the_soft_threshold_keeps_the_strongest_share_and_at_most_the_limit() -> None:
    peaks = np.arange(22).reshape(11, 2)
    assert len(strongest(peaks, keep=0.4, limit=100)) == 5
    assert strongest(peaks, keep=0.4, limit=2).tolist() == [[0, 1], [2, 3]]
    assert len(strongest(peaks[:1], keep=0.01, limit=9)) == 1
    assert len(strongest(peaks[:0], keep=0.4, limit=9)) == 0


def chessboard_corner(x: float, y: float, angle: float = 0.0, size: int = 41) -> np.ndarray:
    """(size, size, 3): four alternating quadrants that meet at (x, y), each pixel the mean over its
    area, lightly blurred.
    """
    fine = 16
    grid = (np.arange(size * fine) + 0.5) / fine - 0.5
    dx, dy = np.meshgrid(grid - x, grid - y)
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    pixels = (200.0 * (u * v > 0) + 25).reshape(size, fine, size, fine).mean((1, 3))
    return np.repeat(np.rint(cv2.GaussianBlur(pixels, (0, 0), 1.0))[..., None], 3, 2).astype(
        np.uint8
    )


@pytest.mark.parametrize(("x", "y"), [(20.0, 20.0), (20.31, 19.8), (19.55, 20.45)])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_a_synthetic_corner_is_recovered_within_a_twentieth_of_a_pixel(
    x: float, y: float, angle: float
) -> None:
    found = refine(grey_of(chessboard_corner(x, y, angle)), np.array([[20.0, 20.0]]), half=5)
    assert found.refined.all()
    np.testing.assert_allclose(found.points[0], [x, y], atol=0.05)


def test_the_point_is_that_of_opencv_once_its_weights_are_used(rng: np.random.Generator) -> None:
    half, start = 4, (20, 21)
    grey = cv2.GaussianBlur(rng.integers(0, 256, (41, 41)).astype(np.uint8), (0, 0), 2)
    offsets = np.arange(-half, half + 1)
    bell = np.exp(-((offsets / half) ** 2))
    ys, xs = np.meshgrid(offsets, offsets, indexing="ij")
    iy, ix = np.gradient(grey.astype(float))
    window = np.s_[start[1] - half : start[1] + half + 1, start[0] - half : start[0] + half + 1]
    step, _ = corner(
        ix[window], iy[window], xs.astype(float), ys.astype(float), np.outer(bell, bell)
    )
    assert step is not None
    assert np.abs(step).max() > 0.1, "a step of nothing would prove nothing"
    np.testing.assert_allclose(
        np.add(start, step), oracle.opencv_corner(grey, start, half), atol=1e-4
    )


@pytest.mark.parametrize(("blur", "half", "most"), [(0, 4, 5), (1.6, 7, 8)])
def test_the_covariance_tells_how_far_noise_moves_the_point(
    rng: np.random.Generator, blur: float, half: int, most: float
) -> None:
    clean = chessboard_corner(20.2, 19.9).astype(float)
    found = []
    for _ in range(300):
        noise = rng.normal(0, 25, clean.shape[:2])[..., None]
        found.append(
            refine(
                grey_of(np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8), blur),
                np.array([[20.0, 20.0]]),
                half,
            )
        )
    actual = np.cov(np.array([f.points[0] for f in found]).T)
    claimed = np.mean([f.covariance[0] for f in found], axis=0)
    assert 0.2 < np.trace(claimed) / np.trace(actual) < most


def test_on_an_edge_and_on_a_plain_the_point_stays_and_is_marked() -> None:
    edge = np.zeros((30, 30, 3), np.uint8)
    edge[:, 15:] = 200
    points = np.array([[15.25, 12.0]])
    for image in (edge, np.full_like(edge, 90)):
        found = refine(grey_of(image), points, half=3)
        assert not found.refined.any()
        assert np.isnan(found.covariance).all()
        np.testing.assert_array_equal(found.points, points)


def test_a_step_out_of_the_window_is_not_taken() -> None:
    ys, xs = np.mgrid[:41, :41]
    wedge = np.repeat(np.where(np.abs(ys - 20) < 0.4 * (30 - xs), 200, 20)[..., None], 3, 2).astype(
        np.uint8
    )  # its tip is at (30, 20)
    found = refine(grey_of(wedge, 1), np.array([[21.0, 20.0]]), half=5)
    assert not found.refined.any()


@given(
    st.integers(2, 12), st.integers(2, 12), st.integers(1, 15), st.floats(-3, 15), st.floats(-3, 15)
)
def test_points_stay_inside_the_picture_however_small_it_is(
    width: int, height: int, half: int, x: float, y: float
) -> None:
    image = (
        np.random.default_rng(width * height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    )
    found = refine(grey_of(image), np.array([[x, y]]), half)
    assert ((found.points >= 0) & (found.points <= [width - 1, height - 1])).all()


def test_no_points_in_no_points_out() -> None:
    found = refine(np.zeros((20, 20), np.uint8), np.zeros((0, 2)), 3)
    assert found.points.shape == (0, 2)
    assert found.covariance.shape == (0, 2, 2)


def test_a_corner_is_likelier_than_an_edge_and_nothing_is_located_on_a_plain() -> None:
    square = np.full((60, 60, 3), 40, np.uint8)
    square[20:, 20:] = 200
    likelihood = corner_likelihood(square, 1.5)
    y, x = np.unravel_index(likelihood.argmax(), likelihood.shape)
    assert likelihood.max() == 0
    assert max(abs(x - 20), abs(y - 20)) <= 1
    assert likelihood[50, 20] < -3, "an edge, twenty times less"
    assert np.isneginf(likelihood[5, 5])
    assert np.isneginf(corner_likelihood(np.full_like(square, 90), 1.5)).all()


def test_peaks_are_ranked_by_another_score_and_ties_as_ever(rng: np.random.Generator) -> None:
    peaks, score = (
        np.array([[0, 1], [2, 0], [1, 0], [2, 1]]),
        np.array([[0.0, 5, 5], [9, 0, -np.inf]]),
    )
    assert ranked(peaks, score).tolist() == [[0, 1], [1, 0], [2, 0], [2, 1]]
    own = rng.random((30, 30))
    np.testing.assert_array_equal(ranked(local_maxima(own, 2), own), local_maxima(own, 2))
    assert ranked(peaks[:0], score).shape == (0, 2)
