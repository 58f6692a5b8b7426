"""The paper's Figure 2 for any photograph.

Input, coarse, fine, fused, keypoints, and where people put landmarks.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from weakpoints.evaluation.arrays import Image
from weakpoints.evaluation.photographs import Landmarked, read
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.method.render import colour, draw, encode, overlay, scaled
from weakpoints.options import Options, Size, Which

COLUMNS = ("photograph", "coarse", "fine", "fused", "keypoints", "landmarks")
SIZE: Size = "image"
MAPS: tuple[Which, ...] = ("coarse", "fine", "fused")
HEIGHT = 180  # pixels of a row


def montage(detector: Detector, photograph: Landmarked, options: Options) -> dict[str, Any]:
    """One row: its name, what the network said, and a PNG.

    The PNG has all COLUMNS side by side, HEIGHT pixels high.
    """
    image = read(photograph.path)
    found = detector.locate(image, options)
    cells = [
        image,
        *(_map(found, name) for name in MAPS),
        draw(image, found.keypoints, found.frame, SIZE),
        _crosses(image, photograph),
    ]
    return {
        "name": f"{photograph.path.parent.name}/{photograph.path.name}",
        "said": f"{found.target.label} {found.target.probability:.2f}",
        "png": encode(np.concatenate([_small(cell) for cell in cells], 1)),
    }


def _map(found: Localization, which: Which) -> Image:
    values: NDArray[np.float64] = getattr(found.maps, which)
    unit = scaled(np.exp(values) if which == "fused" else values, found.frame.inside)
    return colour(found.frame.map_to_image(unit).clip(0, 1))


def _crosses(image: Image, photograph: Landmarked) -> Image:
    canvas, size = overlay(image, np.zeros(image.shape[:2])), max(6, min(image.shape[:2]) // 25)
    for x, y in np.rint(photograph.landmarks).astype(int).tolist():
        for shade, thick in (((0, 0, 0), 4), ((255, 220, 0), 2)):
            cv2.drawMarker(canvas, (x, y), shade, cv2.MARKER_TILTED_CROSS, size, thick, cv2.LINE_AA)
    return canvas


def _small(image: Image) -> Image:
    width = round(image.shape[1] * HEIGHT / image.shape[0])
    return np.asarray(cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
