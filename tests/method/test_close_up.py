"""The close-up: the same scene at any size gives the same points, and what is said of noise."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from tests.toys import LABELS
from weakpoints.method.close_up import ROUNDING, close_up, noise_of
from weakpoints.method.frame import frame_of
from weakpoints.method.peaks import Scene, find_peaks, refined, scene_of
from weakpoints.method.refinement import Refined
from weakpoints.options import choose, resolve

SIDE = 56  # of the network's input: a close-up has 168 pixels a side
SIZES = (280, 1000, 2000)  # pixels a side: as 1, 12 and 48 megapixels are to a side of 224
WITHIN_95 = 5.99  # of chi squared with two degrees of freedom
GREY = np.sqrt(0.299**2 + 0.587**2 + 0.114**2)  # of the noise of RGB


def scene(image: np.ndarray) -> Scene:
    frame = frame_of(image.shape[1], image.shape[0], SIDE, "squash", None)
    return scene_of(image, frame, resolve(choose(keep=0.5), SIDE, LABELS))


def corners(image: np.ndarray, *, everywhere: bool = True) -> tuple[np.ndarray, Refined]:
    """Before and after refinement, as shares of the side; covariances too.

    everywhere: refined as the paper does, or sharp corners alone as by default.
    """
    found, size = scene(image), len(image)
    peaks = find_peaks(found, np.zeros((SIDE, SIDE)))
    paper = replace(found, options=replace(found.options, combine="log_sigmoid"))
    points = refined(paper if everywhere else found, peaks)
    return (peaks.points + 0.5) / size, Refined(
        (points.points + 0.5) / size, points.covariance / size**2, points.refined
    )


def at(size: int) -> np.ndarray:
    return cv2.resize(data.astronaut(), (size, size), interpolation=cv2.INTER_CUBIC)


def shapes(size: int) -> np.ndarray:
    """36 turned squares, whose corners are sharp and lie apart."""
    rng, cell = np.random.default_rng(4), 2000 / 6
    picture: np.ndarray = np.full((2000, 2000), 90, np.uint8)
    for i in range(36):
        centre = (np.array(divmod(i, 6)) + 0.5) * cell + rng.uniform(-20, 20, 2)
        angles = rng.uniform(0, np.pi / 2) + np.arange(4) * np.pi / 2
        square = centre + 0.3 * cell * np.stack([np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(picture, [np.rint(square).astype(np.int32)], int(rng.integers(150, 220)))
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, 2)


def noisy(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, deviation, (400, *image.shape[1:]))  # the same again every 400 rows
    rows = np.arange(len(image)) % 400
    return np.clip(np.rint(image + noise[rows]), 0, 255).astype(np.uint8)


def nearest(points: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distance = np.linalg.norm(points[:, None] - others, axis=2)
    return distance.argmin(1), distance.min(1)


@pytest.mark.parametrize(
    ("picture", "everywhere", "least", "share"),
    [(at, True, 20, 0.95), (at, False, 1, 0.95), (shapes, False, 50, 0.9)],
)
def test_the_same_photograph_has_the_same_points_at_every_size(
    picture: Callable[[int], np.ndarray], everywhere: bool, least: int, share: float
) -> None:
    before, expected = corners(picture(SIZES[1]), everywhere=everywhere)
    assert expected.refined.sum() > least
    for size in (SIZES[0], SIZES[2]):
        _, found = corners(picture(size), everywhere=everywhere)
        for points in (expected.points, expected.points[expected.refined]):
            assert np.median(nearest(points, found.points)[1]) < 0.001
        assert (nearest(expected.points, found.points)[1] < 0.01).mean() > share
    moved = np.linalg.norm(before - expected.points, axis=1)[expected.refined]
    assert np.median(moved) > 0.002, "where nothing moves it would prove nothing"


@pytest.mark.parametrize("deviation", [3.0, 10.0])
def test_the_same_scene_with_noise_lies_within_the_covariance_as_often_as_it_says(
    deviation: float, rng: np.random.Generator
) -> None:
    _, expected = corners(at(SIZES[1]))
    expected_points = expected.points[expected.refined]
    for size in SIZES:
        squared, claimed, actual = [], [], []
        for _ in range(3):
            _, found = corners(noisy(at(size), deviation, rng))
            index, distance = nearest(expected_points, found.points)
            same = (distance < 0.01) & found.refined[index]
            step = (found.points[index] - expected_points)[same]
            covariance = found.covariance[index][same]
            squared.extend(np.einsum("ni,nij,nj->n", step, np.linalg.inv(covariance), step))
            claimed.extend(np.trace(covariance, axis1=1, axis2=2))
            actual.extend((step**2).sum(1))
        assert (np.array(squared) < WITHIN_95).mean() > 0.85, size
        if size == SIZES[0]:  # where more noise is left than rounding makes
            ratio = np.sqrt(np.mean(claimed) / np.mean(actual))
            assert ratio < 6, "it says no more than it must"


def test_a_photograph_has_more_noise_a_pixel_than_its_close_up(rng: np.random.Generator) -> None:
    image = noisy(np.full((1000, 1000, 3), 120, np.uint8), 10, rng)
    assert noise_of(image) == pytest.approx(10 * GREY, rel=0.05)
    view = scene(image).close_up
    factor = 1000 / len(view.grey)
    assert factor > 5
    assert view.noise == pytest.approx(10 * GREY / factor, rel=0.25)
    assert view.grey.std() == pytest.approx(10 * GREY / factor, rel=0.25)


def test_noise_that_neighbours_share_is_seen_on_the_close_up(rng: np.random.Generator) -> None:
    coarse = rng.normal(120, 12, (125, 125, 3)).clip(0, 255).astype(np.uint8)
    image = np.repeat(np.repeat(coarse, 8, 0), 8, 1)
    assert noise_of(image) == ROUNDING
    assert scene(image).close_up.noise > 5 * ROUNDING


def test_without_noise_there_is_what_rounding_makes() -> None:
    assert noise_of(np.full((50, 50, 3), 7, np.uint8)) == ROUNDING
    assert noise_of(np.zeros((2, 900, 3), np.uint8)) == ROUNDING
    slope = np.add.outer(np.arange(100), 2 * np.arange(100)).astype(np.float32)
    assert noise_of(slope) == ROUNDING


def test_only_the_part_that_is_looked_at_counts_and_its_size_is_bounded() -> None:
    image = at(1000)
    part = image[100:700, 200:900]
    whole = frame_of(700, 600, SIDE, "squash", None)
    within = frame_of(1000, 1000, SIDE, "squash", (200, 100, 700, 600))
    one, two = (
        close_up(picture, frame.near(picture), frame)
        for picture, frame in ((np.ascontiguousarray(part), whole), (image, within))
    )
    np.testing.assert_array_equal(one.grey, two.grey)
    assert (one.noise, one.sigma) == (two.noise, two.sigma)
    assert sum(one.grey.shape) <= 2 * 3 * SIDE + 1
