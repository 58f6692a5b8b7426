"""A photograph as a caller of the library has it: a file, bytes, Pillow's picture, an array."""

import os
from io import IOBase

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from weakpoints.errors import BadImage
from weakpoints.images.decode import check_size, decode, read_file
from weakpoints.images.pixels import of_pillow
from weakpoints.options import Limits

Photograph = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | IOBase | Image.Image | ArrayLike
)


def pixels(photograph: Photograph, limits: Limits, background: str) -> NDArray[np.uint8]:
    """As `decode` gives them. Raises WeakpointsError where there is no photograph in the limits."""
    if isinstance(photograph, str | os.PathLike):
        photograph = read_file(photograph, limits)
    elif isinstance(photograph, IOBase):
        photograph = photograph.read(limits.max_bytes + 1)
    if isinstance(photograph, bytes | bytearray | memoryview):
        return decode(bytes(photograph), limits, background)
    if isinstance(photograph, Image.Image):
        check_size(photograph.size, limits)
        return of_pillow(photograph, background)
    image = np.asarray(photograph)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadImage(
            f"the array is {image.shape} of {image.dtype}; (H, W, 3) of uint8, RGB, is taken"
        )
    check_size((image.shape[1], image.shape[0]), limits)
    return np.ascontiguousarray(image)
