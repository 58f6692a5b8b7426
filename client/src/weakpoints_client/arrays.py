"""The maps as numpy arrays; numpy comes with the extra `arrays`."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weakpoints_client.models import Detection

if TYPE_CHECKING:  # whoever wants no arrays needs no numpy
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrays:
    """What a photograph's answer was made of.

    For one class, S being the side of the network's input and P the number of boxes: coarse, fine,
    fused: (S, S) maps. drops, standard_errors: (P,) of each box, by how much it lowers the class
    score; NaN for one colour. For T classes they are (T, S, S) and (T, P). targets: (T,) indices of
    the classes. boxes: (P, 4) x, y, w, h in pixels of the input. image_from_network: (2, 3); it
    takes (x, y, 1) in the input to x, y in the photograph.
    """

    coarse: "NDArray[np.float32]"
    fine: "NDArray[np.float32]"
    fused: "NDArray[np.float32]"
    drops: "NDArray[np.float32]"
    standard_errors: "NDArray[np.float32]"
    targets: "NDArray[np.int64]"
    boxes: "NDArray[np.int64]"
    image_from_network: "NDArray[np.float64]"
    answer: Detection


def read_arrays(npz: bytes) -> Arrays:
    """Of the service's file."""
    import numpy as np

    with np.load(io.BytesIO(npz), allow_pickle=False) as file:
        arrays_by_name = {name: file[name] for name in Arrays.__dataclass_fields__}
    answer = Detection.model_validate_json(str(arrays_by_name.pop("answer")))
    return Arrays(**arrays_by_name, answer=answer)
