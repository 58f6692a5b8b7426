from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.landmarks.conftest import NAMES, PLACES, scene
from weakpoints.errors import BadLandmarkSet
from weakpoints.images.decode import decode
from weakpoints.landmarks.consensus import Shape
from weakpoints.landmarks.describer import Describer, to_cells, to_pixels
from weakpoints.landmarks.descriptors import GRID
from weakpoints.landmarks.finder import find
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.maps import peaks
from weakpoints.landmarks.matching import Reference
from weakpoints.landmarks.named import NamedPoints, Pattern
from weakpoints.loading import PHOTOGRAPH, load_detector
from weakpoints.method.detector import Detector
from weakpoints.method.frame import frame_of
from weakpoints.networks.manifest import MODEL_WEIGHTS
from weakpoints.options import Limits, choose


def located(
    describer: Describer,
    image: np.ndarray,
    other: np.ndarray,
    places: np.ndarray = PLACES,
    **options: Any,
) -> Any:
    """Where the landmarks of one photograph are on another, in its pixels."""
    marked = np.ones(len(places), bool)
    reference = describer.reference(image, places, marked, choose())
    descriptors, frame = describer.describe(other, choose(**options))
    return to_pixels(frame, find([reference], descriptors).places)


@pytest.fixture(scope="module")
def embedded() -> Any:
    """The network that comes with the install, and the package's own photograph."""
    detector = load_detector(MODEL_WEIGHTS / "manifest.json", "efficientnet_lite0", "cpu")
    return Describer(detector), decode(PHOTOGRAPH.read_bytes(), Limits())


def marks(image: np.ndarray) -> Any:
    height, width, _ = image.shape
    shares = np.array([[0.4, 0.2], [0.5, 0.25], [0.6, 0.5], [0.35, 0.55], [0.5, 0.7]])
    return shares * (width, height)


def test_a_photograph_is_its_own_best_match(embedded: Any) -> None:
    describer, image = embedded
    places = marks(image)
    assert located(describer, image, image, places) == pytest.approx(
        places, abs=image.shape[0] / 56
    )


def test_points_move_with_a_shifted_and_cropped_copy(embedded: Any) -> None:
    describer, image = embedded
    height, width, _ = image.shape
    left, top = width // 12, height // 16
    part = np.ascontiguousarray(image[top:, left:])
    places = marks(image)
    away = located(describer, image, part, places) - (places - (left, top))
    assert np.linalg.norm(away, axis=1).max() < height / 15


def test_a_mirrored_pair_gives_mirrored_points(embedded: Any) -> None:
    """Both mirrored: the network is not symmetric, so nearly the same."""
    describer, image = embedded
    height, width, _ = image.shape
    first, second = (np.ascontiguousarray(each[:, ::-1]) for each in (image, image[height // 16 :]))
    places = marks(image)
    flipped = places * (-1, 1) + (width - 1, 0)
    away = located(describer, first, second, flipped) - (flipped - (0, height // 16))
    assert np.linalg.norm(away, axis=1).max() < height / 15


def test_a_roi_is_looked_at_alone_and_points_are_in_the_photographs_pixels(
    describer: Describer,
) -> None:
    canvas = np.full((240, 320, 3), 127, np.uint8)
    canvas[60:180, 100:260] = scene()
    found = located(describer, scene(), canvas, roi=(100, 60, 160, 120))
    assert found == pytest.approx(PLACES + np.array([100, 60]), abs=4)


def test_a_landmark_that_no_reference_has_is_not_visible(
    describer: Describer, detector: Detector
) -> None:
    marked = np.array([True, True, True, False])
    reference = describer.reference(scene(), PLACES, marked, choose())
    pattern = Pattern("beast", tuple(NAMES), (), (reference,), detector.model.sha256)
    named = NamedPoints(describer, pattern).find(scene(), choose())
    assert named.landmarks[3].confidence == 0
    assert not named.landmarks[3].visible


def test_a_landmark_outside_of_the_reference_s_roi_is_not_marked(describer: Describer) -> None:
    reference = describer.reference(scene(), PLACES, np.ones(4, bool), choose(roi=(0, 0, 80, 120)))
    assert reference.shape.marked.tolist() == [True, False, False, True]


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_any_marks_give_finite_points_inside_the_grid(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = Shape(rng.random((count, 2)) * (GRID - 1), rng.random(count) < 0.7)
    maps = tuple(
        torch.nn.functional.normalize(torch.rand(4, side, side), dim=0) for side in (14, 7)
    )
    found = find([Reference(maps, shape)], maps)
    assert np.isfinite(found.places).all()
    assert ((found.places >= 0) & (found.places <= GRID - 1)).all()
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()


def test_a_peak_lies_between_cells_as_its_neighbours_pull() -> None:
    maps = torch.zeros(2, GRID, GRID)
    maps[0, 5, 7], maps[0, 5, 8] = 1.0, 1.0
    maps[1, 0, 0] = 1.0
    assert peaks(maps) == pytest.approx(np.array([[7.5, 5], [0, 0]]))


@given(st.integers(16, 900), st.integers(16, 900), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_cells_and_pixels_are_each_other_s_inverse(
    width: int, height: int, x: float, y: float
) -> None:
    for fit in ("squash", "letterbox"):
        frame = frame_of(width, height, 56, fit, None)
        places = np.array([[x * width, y * height]])
        assert to_pixels(frame, to_cells(frame, places)) == pytest.approx(places)


def test_objects_are_found_together_in_their_order(
    describer: Describer, learnt: LandmarkSet
) -> None:
    canvas = np.concatenate([scene(), scene((6, 4))], 1)
    boxes = [(160, 0, 160, 120), (0, 0, 160, 120)]
    named = NamedPoints(describer, learnt.pattern)
    together = named.find_all(canvas, [choose(roi=box) for box in boxes])
    alone = [named.find(canvas, choose(roi=box)) for box in boxes]
    for both, single in zip(together, alone, strict=True):
        assert both.xy == pytest.approx(single.xy, abs=1e-3)
    assert together[0].xy[:, 0].min() >= 160 > together[1].xy[:, 0].max()


def test_the_box_is_that_of_the_visible_landmarks(
    describer: Describer, learnt: LandmarkSet
) -> None:
    named = NamedPoints(describer, learnt.pattern).find(scene(), choose())
    assert named.visible.any()
    x, y, w, h = named.bbox
    shown = named.xy[named.visible]
    assert shown.min(0) == pytest.approx([x, y])
    assert np.ptp(shown, axis=0) == pytest.approx([w, h])


def test_a_set_of_another_network_is_refused(describer: Describer, learnt: LandmarkSet) -> None:
    other = Pattern("beast", learnt.names, (), learnt.pattern.references, "f" * 64)
    with pytest.raises(BadLandmarkSet, match="ffffffffffff"):
        NamedPoints(describer, other)


def test_the_same_photograph_gives_the_same_bits(describer: Describer, learnt: LandmarkSet) -> None:
    named = NamedPoints(describer, learnt.pattern)
    first, second = (named.find(scene((3, 2)), choose()) for _ in range(2))
    assert first.landmarks == second.landmarks
