"""The maps and what they were made of, as numpy's own file."""

import io

import numpy as np
from numpy.typing import NDArray

from weakpoints.method.localization import Localization


def npz(localization: Localization, answer: str) -> bytes:
    """A file for `numpy.load(..., allow_pickle=False)`; `answer` is the answer's JSON.

    For one class, S being the side of the network's input and P the number of boxes:
    coarse, fine, fused: (S, S) float32, as in `Maps`. drops, standard_errors: (P,) float32 of each
    box, as in `Explained`. For T classes they are (T, S, S) and (T, P).
    targets: (T,) indices of the classes. boxes: (P, 4) x, y, w, h in pixels of the input.
    image_from_network: (2, 3) float64, as in `Frame`. answer: () text.
    """
    maps = {
        name: _stacked([getattr(explained.maps, name) for explained in localization.explained])
        for name in ("coarse", "fine", "fused")
    }
    file = io.BytesIO()
    np.savez(
        file,
        allow_pickle=False,
        **maps,
        drops=_stacked([explained.drops for explained in localization.explained]),
        standard_errors=_stacked(
            [explained.standard_errors for explained in localization.explained]
        ),
        targets=np.array([explained.target for explained in localization.explained]),
        boxes=localization.boxes,
        image_from_network=localization.frame.image_from_network,
        answer=np.array(answer),
    )
    return file.getvalue()


def _stacked(of_each_class: list[NDArray[np.float64]]) -> NDArray[np.float32]:
    values = np.stack(of_each_class).astype(np.float32)
    return values if len(values) > 1 else values[0]
