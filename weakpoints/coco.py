"""COCO keypoints as they are read: (0, 0) is the picture's corner there, ours a pixel's centre."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 0.5  # pixels from the picture's corner to the centre of its first pixel


def visible_points(
    annotation: dict[str, Any], category: dict[str, Any]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(M, 2) x, y in our pixels of those with a visibility above 0, and their names.

    A category that names too few has them numbered. Raises what dictionaries and numpy do for what
    is not COCO.
    """
    triples = np.array(annotation["keypoints"], float).reshape(-1, 3)
    names = list(category.get("keypoints", []))
    names += [f"point_{i}" for i in range(len(names) + 1, len(triples) + 1)]
    seen = np.flatnonzero(triples[:, 2] > 0)
    return triples[seen, :2] - HALF, tuple(names[i] for i in seen)
