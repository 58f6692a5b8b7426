import numpy as np
import pytest

from weakpoints.method.fusion import (
    FLOOR,
    OBJECT_SHARE,
    SMOOTH,
    fuse,
    log_gaussian,
    log_sigmoid,
    moments,
    smooth,
    standardise,
)

EVERYWHERE = np.ones((6, 6), bool)


@pytest.fixture
def maps(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.random((6, 6)), rng.random((6, 6)) ** 3


def test_the_formula_pixel_by_pixel(maps: tuple[np.ndarray, np.ndarray]) -> None:
    coarse, fine = maps
    u, v = ((m - m.mean()) / m.std() for m in maps)
    expected = 0.3 * np.log(1 / (1 + np.exp(-u))) + 0.7 * np.log(1 / (1 + np.exp(-v)))
    np.testing.assert_allclose(
        fuse(coarse, fine, EVERYWHERE, weight=0.3, combine="log_sigmoid"), expected
    )


def test_corners_leave_their_share_to_the_photograph_and_look_around_themselves_in_both_maps() -> (
    None
):
    coarse, fine, spread = np.zeros((56, 56)), np.zeros((56, 56)), SMOOTH * 56
    fine[20, 30] = 5.0
    rest = 0.6 * 0.7
    score = fuse(
        coarse, fine, np.ones((56, 56), bool), weight=0.4, combine="corners", fine_share=0.7
    )
    assert score.max() == pytest.approx(0.4 * np.log(0.5))
    near = -(2**2) / (2 * spread**2)  # of the smoothed point and of its Gaussian, which are alike
    assert score[20, 32] == pytest.approx(
        0.4 * np.log(0.5) + rest * (1 + OBJECT_SHARE) * near, rel=0.02
    )
    far = -(35**2 + 30**2) / (2 * spread**2)
    assert score[55, 0] == pytest.approx(
        0.4 * np.log(0.5) + rest * (np.log(FLOOR) + OBJECT_SHARE * far), rel=0.02
    )
    by_coarse = fuse(fine, coarse, np.ones((56, 56), bool), weight=0.4, combine="corners")
    assert by_coarse.argmax() == fine.argmax()
    assert by_coarse[20, 30] > by_coarse[20, 34] > by_coarse[20, 38]


def test_the_gaussian_has_the_mean_and_the_deviations_of_the_map(rng: np.random.Generator) -> None:
    values = rng.random((20, 20)) ** 4
    mean, variance = moments(values)
    places = np.array(np.indices(values.shape))[::-1].reshape(2, -1)  # x, y
    np.testing.assert_allclose(mean, np.average(places, axis=1, weights=values.ravel()))
    covariance = np.cov(places, aweights=values.ravel(), ddof=0)
    np.testing.assert_allclose(variance, np.diag(covariance))
    expected = [
        -((x - mean[0]) ** 2 / variance[0] + (y - mean[1]) ** 2 / variance[1]) / 2
        for x, y in places.T
    ]
    np.testing.assert_allclose(log_gaussian(values).ravel(), expected)
    assert not log_gaussian(np.zeros((5, 5))).any()
    point = np.zeros((5, 5))
    point[2, 3] = 7
    assert log_gaussian(point).argmax() == point.argmax()
    assert np.isfinite(log_gaussian(point)).all()


def test_what_is_even_stays_even_beside_a_margin() -> None:
    inside = np.ones((56, 56), bool)
    inside[:15] = False
    smoothed = smooth(np.full((56, 56), 3.0), inside)
    np.testing.assert_allclose(smoothed[inside], 3)
    assert not smoothed[~inside].any()


def test_both_scales_have_to_agree_in_log_sigmoid() -> None:
    coarse, fine = np.array([[3.0, 1.5, -4.5]]), np.array([[-1.5, 1.5, 0.0]])
    inside = np.ones((1, 3), bool)
    both = fuse(coarse, fine, inside, weight=0.5, combine="log_sigmoid")[0]
    assert both[1] > both[0]


@pytest.mark.parametrize(("combine", "span"), [("log_sigmoid", 0.4), ("corners", 0.25)])
def test_a_log_likelihood_is_never_positive_and_uses_the_whole_range(
    combine: str, span: float, maps: tuple[np.ndarray, np.ndarray]
) -> None:
    score = fuse(*maps, EVERYWHERE, weight=0.5, combine=combine)
    assert score.max() < 0
    assert np.exp(score.max()) - np.exp(score.min()) > span, "an uncentred sigmoid would span 0.23"


def test_scale_and_offset_of_a_map_do_not_matter(maps: tuple[np.ndarray, np.ndarray]) -> None:
    one = fuse(*maps, EVERYWHERE, weight=0.5, combine="log_sigmoid")
    np.testing.assert_allclose(
        fuse(maps[0] * 1e-6, maps[1] * 50 + 3, EVERYWHERE, weight=0.5, combine="log_sigmoid"), one
    )


def test_a_constant_map_says_nothing() -> None:
    assert not standardise(np.full((6, 6), 0.37), EVERYWHERE).any()
    assert not standardise(np.zeros((6, 6)), EVERYWHERE).any()


@pytest.mark.parametrize("combine", ["log_sigmoid", "corners"])
def test_the_margin_of_a_letterbox_neither_counts_nor_wins(
    combine: str, maps: tuple[np.ndarray, np.ndarray]
) -> None:
    inside = EVERYWHERE.copy()
    inside[:2] = False
    loud = maps[0].copy()
    loud[0, 0] = 1e6
    score = fuse(loud, maps[1], inside, weight=0.5, combine=combine)
    np.testing.assert_array_equal(score, fuse(*maps, inside, weight=0.5, combine=combine))
    assert np.isneginf(score[:2]).all()


def test_log_sigmoid_neither_overflows_nor_underflows() -> None:
    np.testing.assert_allclose(log_sigmoid(np.array([-1e4, 0.0, 1e4])), [-1e4, -np.log(2), 0.0])
