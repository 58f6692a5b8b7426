"""Warps, and what follows them."""

import numpy as np
import pytest

from weakpoints.evaluation.repeatability import found_again, repeated
from weakpoints.evaluation.warps import warps


def test_points_that_follow_a_warp_are_repeated_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((20, 2)) * (299, 199)
    for warp in warps(300, 200, rng):
        moved = warp.forward(points)
        detected = moved[((moved >= -0.5) & (moved <= (299.5, 199.5))).all(1)]
        assert repeated(points, detected, warp, (200, 300, 3), 20) == pytest.approx(
            (1, 0), abs=1e-9
        )
        np.testing.assert_allclose(warp.back(warp.forward(points)), points)
        assert (
            repeated(points, warp.forward(np.add(points, (0, 40))), warp, (200, 300, 3), 20)[0]
            < 0.3
        )
    still = warps(300, 200, rng)[-1]
    assert repeated(points, np.add(points, (2, 0)), still, (200, 300, 3), 20) == pytest.approx(
        (1, 2), abs=0.2
    )
    assert np.isnan(repeated(points[:0], points[:0], still, (200, 300, 3), 20)[0])
    assert repeated(points, points[:0], still, (200, 300, 3), 20)[0] == 0


def test_a_warp_moves_the_picture_as_it_moves_the_points() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    image[58:63, 78:83] = 255
    for warp in warps(160, 120, np.random.default_rng(2)):
        changed = warp(image).sum(2).astype(float)
        assert changed.shape == (120, 160)
        changed = np.where(changed > 150, changed, 0)
        ys, xs = np.mgrid[:120, :160]
        centre = [(changed * xs).sum() / changed.sum(), (changed * ys).sum() / changed.sum()]
        np.testing.assert_allclose(centre, warp.forward(np.array([[80.0, 60.0]]))[0], atol=0.6)


def test_a_point_is_found_again_where_the_warp_took_it() -> None:
    shift = warps(300, 200, np.random.default_rng(0))[3]
    points = np.array([[50.0, 60], [299, 10], [100, 100]])
    assert found_again(points, np.array([[54.0, 64.0], [200, 20]]), shift, (200, 300)) == [
        True,
        None,
        False,
    ]
    assert found_again(points, np.zeros((0, 2)), shift, (200, 300)) == [False, None, False]
