import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.method.render import BRIGHT, colour, heatmap_png, overlay, scaled, visible
from weakpoints.options import choose


@pytest.fixture(scope="module")
def found(detector: Detector, photograph: np.ndarray) -> Localization:
    return detector.locate(
        photograph, choose(patch=8, stride=8, fit="letterbox", roi=(20, 10, 130, 60))
    )


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))


@pytest.mark.parametrize("which", ["fused", "coarse", "fine"])
def test_gray16_holds_the_raw_map_and_its_range(
    found: Localization, photograph: np.ndarray, which: str
) -> None:
    png, (low, high) = heatmap_png(
        photograph, found, which=which, style="gray16", keypoints=False, size="network"
    )
    raw, inside = getattr(found.maps, which), found.frame.inside
    np.testing.assert_allclose(
        pixels(png)[inside] / 65535 * (high - low) + low, raw[inside], atol=(high - low) / 65535
    )
    assert not pixels(png)[~inside].any()


def test_an_overlay_lets_the_photograph_through_outside_the_region(
    found: Localization, photograph: np.ndarray
) -> None:
    png, _ = heatmap_png(
        photograph, found, which="fused", style="overlay", keypoints=False, size="image"
    )
    drawn = pixels(png)[..., ::-1]
    assert np.array_equal(drawn[75:], photograph[75:])
    assert not np.array_equal(drawn[10:70, 20:150], photograph[10:70, 20:150])


def test_keypoints_are_drawn_where_they_are(found: Localization, photograph: np.ndarray) -> None:
    with_, without = (
        pixels(
            heatmap_png(
                photograph, found, which="fine", style="overlay", keypoints=drawn, size="image"
            )[0]
        ).astype(int)
        for drawn in (True, False)
    )
    ys, xs = np.nonzero(np.abs(with_ - without).sum(-1))
    assert all(np.hypot(xs - p.x, ys - p.y).min() < 5 for p in found.keypoints)
    distance = np.min([np.hypot(xs - p.x, ys - p.y) for p in found.keypoints], axis=0)
    assert distance.max() < 8


def test_a_few_strong_pixels_do_not_darken_the_rest_of_the_fine_map() -> None:
    raw = np.full((20, 20), 0.1)
    raw[0], raw[0, 0] = 0.2, 5.0
    inside = np.ones((20, 20), bool)
    unit = scaled(visible(raw, "fine", inside), inside)
    assert unit[0].min() == unit.max() == 1
    raw[0, 1:] = 0.1
    assert (raw > np.percentile(raw, BRIGHT)).sum() == 1
    assert scaled(visible(raw, "fine", inside), inside)[0, 0] == 1


def test_a_constant_map_is_black() -> None:
    assert not scaled(np.full((3, 3), 0.4), np.ones((3, 3), bool)).any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_an_overlay_is_the_mixture_of_both_to_half_a_level(h: int, w: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, unit = rng.integers(0, 256, (h, w, 3), np.uint8), rng.random((h, w)).astype(np.float32)
    opacity = 0.6 * unit[..., None].astype(np.float64)
    mixed = image * (1 - opacity) + colour(unit) * opacity
    assert np.abs(overlay(image, unit) - mixed).max() <= 0.51
