"""The box of points."""

import numpy as np

from weakpoints.method.detector import Detector
from weakpoints.method.localization import bounding_box
from weakpoints.options import choose


def test_the_box_goes_from_the_first_to_the_last_point() -> None:
    assert bounding_box([(3.5, 9.0), (1.0, 2.0), (2.0, 4.0)]) == (1.0, 2.0, 2.5, 7.0)
    assert bounding_box([(3.0, 4.0)]) == (3.0, 4.0, 0.0, 0.0)
    assert bounding_box([]) is None


def test_an_answer_has_the_box_of_the_first_class_alone(
    detector: Detector, photograph: np.ndarray
) -> None:
    options = choose(target_class=(1, 3), patch=14, stride=14, keep=0.3)
    found = detector.locate(photograph, options)
    first, second = found.explained
    assert found.bbox == bounding_box([(point.x, point.y) for point in first.keypoints])
    assert found.bbox != bounding_box([(point.x, point.y) for point in second.keypoints])
