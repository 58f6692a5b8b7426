"""The two kinds of arrays that evaluation hands on."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]  # (H, W, 3) RGB
