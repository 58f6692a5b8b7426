"""A photograph as a caller of the library has it: a file, bytes, Pillow's picture, an array."""

import os
from io import IOBase
from typing import Any

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
    elif hasattr(photograph, "read"):  # a file, or what stands for one, as tempfile's do
        photograph = _all_of(photograph, limits.max_bytes + 1)
    if isinstance(photograph, bytes | bytearray | memoryview):
        return decode(bytes(photograph), limits, background)
    if isinstance(photograph, Image.Image):
        check_size(photograph.size, limits)
        return of_pillow(photograph, background)
    try:
        image = np.asarray(photograph)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor with a gradient, for one
        raise BadImage(f"no array can be made of {type(photograph).__name__}: {error}") from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadImage(
            f"the array is {image.shape} of {image.dtype}; (H, W, 3) of uint8, RGB, is taken"
        )
    check_size((image.shape[1], image.shape[0]), limits)
    return np.ascontiguousarray(image)


def _all_of(file: Any, most: int) -> bytes:
    """What is left of an open file, but no more than `most`: a pipe gives a piece at a time.

    Raises BadImage where it gives text.
    """
    data = bytearray()
    try:
        while len(data) < most and (piece := file.read(most - len(data))):
            data += piece
    except (UnicodeDecodeError, TypeError) as error:
        raise BadImage('the file gives text, not bytes; open it with "rb"') from error
    return bytes(data)
