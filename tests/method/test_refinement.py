"""Förstner's step: where the corner is, and how far noise moves it."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle
from weakpoints.method.close_up import CloseUp
from weakpoints.method.frame import frame_of
from weakpoints.method.refinement import (
    Refined,
    Window,
    least_squares,
    miss,
    noise_gain,
    refine,
)

SHARP = 0.1  # pixels: a blur that changes nothing


def looked_at(grey: np.ndarray, sigma: float = SHARP, noise: float = 1.0) -> CloseUp:
    height, width = grey.shape
    frame = frame_of(width, height, max(width, height), "letterbox", None)
    return CloseUp(frame, grey.astype(np.float32), noise, sigma)


def chessboard_corner(x: float, y: float, angle: float = 0.0, size: int = 41) -> np.ndarray:
    """(size, size): four alternating quadrants that meet at (x, y), each pixel the mean over its
    area, lightly blurred.
    """
    fine = 16
    grid = (np.arange(size * fine) + 0.5) / fine - 0.5
    dx, dy = np.meshgrid(grid - x, grid - y)
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    pixels = (200.0 * (u * v > 0) + 25).reshape(size, fine, size, fine).mean((1, 3))
    return np.rint(cv2.GaussianBlur(pixels, (0, 0), 1.0))


def wedge() -> np.ndarray:
    """(41, 41): its tip is at (30, 20)."""
    ys, xs = np.mgrid[:41, :41]
    return np.where(np.abs(ys - 20) < 0.4 * (30 - xs), 200.0, 20.0)


@pytest.mark.parametrize(("x", "y"), [(20.0, 20.0), (20.31, 19.8), (19.55, 20.45)])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_a_synthetic_corner_is_recovered_within_a_twentieth_of_a_pixel(
    x: float, y: float, angle: float
) -> None:
    found = refine(looked_at(chessboard_corner(x, y, angle)), np.array([[20.0, 20.0]]), half=5)
    assert found.refined.all()
    np.testing.assert_allclose(found.points[0], [x, y], atol=0.05)


def test_the_point_is_that_of_opencv_once_its_weights_are_used(rng: np.random.Generator) -> None:
    half, start = 4, (20, 21)
    grey = cv2.GaussianBlur(rng.integers(0, 256, (41, 41)).astype(np.uint8), (0, 0), 2)
    offsets = np.arange(-half, half + 1)
    bell = np.exp(-((offsets / half) ** 2))
    ys, xs = np.meshgrid(offsets, offsets, indexing="ij")
    iy, ix = np.gradient(grey.astype(float))
    inside = np.s_[start[1] - half : start[1] + half + 1, start[0] - half : start[0] + half + 1]
    window = Window(ix[inside], iy[inside], xs.astype(float), ys.astype(float))
    solved = least_squares(window, np.outer(bell, bell))
    assert solved is not None
    assert np.abs(solved[0]).max() > 0.1, "a step of nothing would prove nothing"
    np.testing.assert_allclose(
        np.add(start, solved[0]), oracle.opencv_corner(grey, start, half), atol=1e-4
    )


def test_the_gain_of_noise_is_that_of_moving_each_pixel_by_itself() -> None:
    """The oracle: the Jacobian by differences, one pixel of the picture after the other."""
    sigma, half, size = 1.5, 4, 27
    clean, centre = wedge()[7:34, 14:41], 13

    def corner(picture: np.ndarray) -> tuple[Window, np.ndarray, np.ndarray]:
        iy, ix = np.gradient(cv2.GaussianBlur(picture, (0, 0), sigma))
        inside = np.s_[centre - half : centre + half + 1, centre - half : centre + half + 1]
        ys, xs = np.mgrid[inside].astype(float)
        window = Window(ix[inside], iy[inside], xs, ys)
        solved = least_squares(window)
        assert solved is not None
        return window, *solved

    jacobian = np.empty((2, size * size))
    for pixel in range(size * size):
        ends = []
        for step in (1e-3, -1e-3):
            changed = clean.copy()
            changed.flat[pixel] += step
            ends.append(corner(changed)[1])
        jacobian[:, pixel] = (ends[0] - ends[1]) / 2e-3
    np.testing.assert_allclose(
        noise_gain(*corner(clean), sigma), jacobian @ jacobian.T, rtol=0.02, atol=1e-9
    )


@pytest.mark.parametrize(("sigma", "half"), [(SHARP, 4), (1.6, 7)])
def test_the_covariance_tells_how_far_noise_moves_the_point(
    rng: np.random.Generator, sigma: float, half: int
) -> None:
    clean, noise = chessboard_corner(20.2, 19.9), 8.0
    found: list[Refined] = []
    for _ in range(300):
        noisy = clean + rng.normal(0, noise, clean.shape)
        found.append(refine(looked_at(noisy, sigma, noise), np.array([[20.0, 20.0]]), half))
    actual = np.cov(np.array([f.points[0] for f in found]).T)
    claimed = np.mean([f.covariance[0] for f in found], axis=0)
    assert 0.6 < np.trace(claimed) / np.trace(actual) < 1.6


def test_on_an_edge_and_on_a_plain_the_point_stays_and_is_marked() -> None:
    edge = np.zeros((30, 30))
    edge[:, 15:] = 200
    points = np.array([[15.25, 12.0]])
    for grey in (edge, np.full_like(edge, 90)):
        found = refine(looked_at(grey), points, half=3)
        assert not found.refined.any()
        assert np.isnan(found.covariance).all()
        np.testing.assert_array_equal(found.points, points)


def test_a_step_out_of_the_window_is_not_taken() -> None:
    found = refine(looked_at(wedge(), 1), np.array([[21.0, 20.0]]), half=5)
    assert not found.refined.any()


def test_edges_that_do_not_meet_leave_the_point_where_it_is() -> None:
    """A square's two opposite corners in one window: the step would go between them."""
    square = np.zeros((41, 41))
    square[16:25, 16:25] = 200
    start = np.array([[16.0, 16.0]])
    pulled = refine(looked_at(square, 1.5), start, half=9)
    assert np.abs(pulled.points - start).min() > 2
    found = refine(looked_at(square, 1.5), start, half=9, most_miss=0.28 * 9)
    assert not found.refined.any()
    assert np.isnan(found.covariance).all()
    np.testing.assert_array_equal(found.points, start)
    between = np.rint(pulled.points)  # from there the step is short
    assert refine(looked_at(square, 1.5), between, half=9, most_miss=0.28 * 9).refined.all()


@pytest.mark.parametrize("angle", [np.pi / 4, np.pi / 2, 2 * np.pi / 3])
@pytest.mark.parametrize("sigma", [3.0, 5.0])
def test_a_sharp_corner_misses_by_no_more_than_its_blur(angle: float, sigma: float) -> None:
    """Of a wedge, blurred by sigma, in a window of 3 sigma: as on a close-up."""
    half, centre = round(3 * sigma), 60
    ys, xs = np.mgrid[:121, :121] - float(centre)
    wedge = 200.0 * (np.abs(np.arctan2(ys, xs)) < angle / 2)
    iy, ix = np.gradient(cv2.GaussianBlur(wedge, (0, 0), sigma))
    inside = np.s_[centre - half : centre + half + 1, centre - half : centre + half + 1]
    window = Window(ix[inside], iy[inside], xs[inside], ys[inside])
    solved = least_squares(window)
    assert solved is not None
    assert 0.2 * half < miss(window, solved[0]) < 0.29 * half


@given(
    st.integers(2, 12), st.integers(2, 12), st.integers(1, 15), st.floats(-3, 15), st.floats(-3, 15)
)
def test_points_stay_inside_the_picture_however_small_it_is(
    width: int, height: int, half: int, x: float, y: float
) -> None:
    grey = np.random.default_rng(width * height).integers(0, 256, (height, width))
    found = refine(looked_at(grey), np.array([[x, y]]), half)
    assert ((found.points >= 0) & (found.points <= [width - 1, height - 1])).all()
    assert np.isfinite(found.covariance[found.refined]).all()


def test_no_points_in_no_points_out() -> None:
    found = refine(looked_at(np.zeros((20, 20))), np.zeros((0, 2)), 3)
    assert found.points.shape == (0, 2)
    assert found.covariance.shape == (0, 2, 2)
