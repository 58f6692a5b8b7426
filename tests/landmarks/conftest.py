"""A photograph with corners of many kinds, marked, and others that are made of it."""

import json
from typing import Any

import cv2
import numpy as np
import pytest

from weakpoints.landmarks.annotations import read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.learning import learn
from weakpoints.method.detector import Detector
from weakpoints.options import choose

NAMES = ["nose", "ear", "tail", "foot"]
PLACES = np.array([[40.0, 30.0], [100.0, 40.0], [120.0, 90.0], [50.0, 80.0]])


def scene(shift: tuple[int, int] = (0, 0), size: tuple[int, int] = (160, 120)) -> Any:
    """(H, W, 3): shapes on a plain ground, all moved by `shift` pixels."""
    image = np.full((size[1], size[0], 3), 120, np.uint8)
    image[:, :, 0] += (np.arange(size[0]) // 4).astype(np.uint8)
    x, y = (int(each) for each in shift)
    cv2.circle(image, (40 + x, 30 + y), 12, (250, 30, 30), -1)
    cv2.rectangle(image, (88 + x, 28 + y), (112 + x, 52 + y), (20, 220, 40), -1)
    cv2.circle(image, (120 + x, 90 + y), 14, (30, 30, 240), 4)
    cv2.line(image, (38 + x, 68 + y), (62 + x, 92 + y), (250, 250, 250), 5)
    cv2.line(image, (62 + x, 68 + y), (38 + x, 92 + y), (10, 10, 10), 5)
    return image


def coco(files: Any, names: Any = NAMES, **changes: Any) -> Any:
    """COCO keypoints of photographs: places in our pixels, by file name."""
    found = {
        "images": [
            {"id": i, "file_name": name, "width": 160, "height": 120}
            for i, name in enumerate(files)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "keypoints": [v for x, y in places for v in (x + 0.5, y + 0.5, 2)],
            }
            for i, places in enumerate(files.values())
        ],
        "categories": [
            {"id": 1, "name": "beast", "keypoints": names, "skeleton": [[1, 2], [2, 3]]}
        ],
    }
    return found | changes


@pytest.fixture(scope="session")
def describer(detector: Detector) -> Any:
    return Describer(detector)


@pytest.fixture(scope="session")
def learnt(describer: Describer) -> Any:
    """A set of two references."""
    shifts = {"a.png": (0, 0), "b.png": (6, 4)}
    text = json.dumps(coco({name: PLACES + shift for name, shift in shifts.items()}))
    images = {name: scene(shift) for name, shift in shifts.items()}
    return learn(describer, read_annotations(text, "beast.json"), images.__getitem__, choose())
