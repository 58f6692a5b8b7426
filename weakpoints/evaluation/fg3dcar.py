"""FG3DCar (Lin et al. 2014), the paper's cars: 300 photographs, 30 models, 64 landmarks.

The landmarks are in a MATLAB file. The data set is hard to come by. What others' code shows of it
is a cell array `manualParam` with `filename` and `box` (x, y, w, h) for each photograph. How the
landmarks are written it does not show. So any numbers of 2 (or 3, with visibility) rows or columns
are taken for landmarks: x, y in MATLAB's pixels, from 1. What is NaN, or (0, 0), or has visibility
0, is not visible.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from weakpoints.errors import BadOption
from weakpoints.evaluation.baselines import Rectangle
from weakpoints.evaluation.photographs import BoxSource, Landmarked, landmarks_box

CELLS = "manualParam"
FEWEST = 4  # rows of numbers that can be landmarks: a box has four numbers, but one row of them


def read_fg3dcar(
    file: Path, images: Path, boxes: BoxSource = "annotation"
) -> tuple[Landmarked, ...]:
    """The photographs of FG3DCar with at least one visible landmark.

    A photograph's group is its folder, if it has one: `test/<model>/*.jpg`. Without a box, the
    paper's rule makes one. Raises BadOption where the file can't be read.
    """
    try:
        cells = loadmat(file, simplify_cells=True)[CELLS]
        rows = [_landmarked(cell, images, boxes) for cell in np.atleast_1d(cells)]
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise BadOption(
            f"{file} can't be read as FG3DCar's ground truth: {type(error).__name__} {error}"
        ) from error
    return tuple(row for row in rows if len(row.landmarks))


def _landmarked(cell: dict[str, Any], images: Path, boxes: BoxSource) -> Landmarked:
    name = Path(str(cell["filename"]).replace("\\", "/"))
    table = next(_tables(cell))
    seen = np.isfinite(table[:, :2]).all(1) & (table[:, :2] != 0).any(1)
    if table.shape[1] == 3:
        seen &= table[:, 2] > 0
    landmarks = table[seen, :2] - 1
    names = tuple(f"landmark_{i + 1:02}" for i in np.flatnonzero(seen))
    if not len(landmarks):
        box: Rectangle = (0, 0, 0, 0)
    elif boxes == "landmarks" or "box" not in cell:
        box = landmarks_box(landmarks)
    else:
        x, y, w, h = (float(cell["box"][key]) for key in "xywh")
        box = (x - 1, y - 1, w, h)
    return Landmarked(images / name, name.parent.name or "car", box, landmarks, names)


def _tables(cell: dict[str, Any]) -> Iterator[NDArray[np.float64]]:
    """(M, 2) or (M, 3): the cell's fields that can be landmarks."""
    for value in cell.values():
        array = np.asarray(value)
        if (
            array.ndim == 2
            and array.dtype.kind in "iuf"
            and min(array.shape) in (2, 3)
            and max(array.shape) >= FEWEST
        ):
            yield np.asarray(array if array.shape[1] in (2, 3) else array.T, np.float64)
    raise ValueError(f"{cell['filename']} has no table of landmarks")
