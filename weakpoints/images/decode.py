"""From the bytes of a file to pixels, within limits."""

import os

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadImage, MalformedRequest, TooLarge, WeakpointsError
from weakpoints.images.header import READ, media_type_of, read_body, stated_size
from weakpoints.images.parts import Size, cut_short
from weakpoints.images.pixels import decoded, opened
from weakpoints.options import WHITE, Limits

START_OF_SCAN = b"\xff\xda"


def read_file(path: str | os.PathLike[str], limits: Limits) -> bytes:
    """Its bytes; of a pipe or a device, no more than tell that they are too many.

    Raises TooLarge, and OSError where it can't be read.
    """
    with open(path, "rb") as file:
        _refuse("bytes", os.fstat(file.fileno()).st_size, limits.max_bytes)
        return file.read(limits.max_bytes + 1)


def decode(data: bytes, limits: Limits, background: str = WHITE) -> NDArray[np.uint8]:
    """(H, W, 3) RGB as people see the picture: EXIF orientation applied, 16 bits become 8.

    What can be seen through lies over the background, `rrggbb`. Where something can't be seen at
    all, it is (H, W, 4), see `split`. Of several pictures in a file it is the first. Raises
    WeakpointsError, for a size beyond the limits before a pixel is decoded.
    """
    media_type = admit(data, limits)
    body = read_body(data, media_type, limits.max_scanned)
    image = _pixels(body.data, media_type, limits, background)
    if image is None and not body.ended:
        raise cut_short(READ[media_type], data)
    if image is None:
        raise BadImage(f"the {READ[media_type]} of {len(data)} bytes can't be decoded")
    for other in body.others:
        again = _pixels(other, media_type, limits, background)
        if again is None or not np.array_equal(image, again):
            raise cut_short(READ[media_type], data)
    return image


def admit(data: bytes, limits: Limits) -> str:
    """The media type of a file whose bytes, and stated size, are within the limits.

    Raises WeakpointsError with limit and actual.
    """
    if not data:
        raise MalformedRequest("the image is empty: 0 bytes came", actual=0)
    _refuse("bytes", len(data), limits.max_bytes)
    media_type = media_type_of(data)
    if size := stated_size(data, media_type):
        check_size(size, limits)
    return media_type


def is_large(data: bytes, limits: Limits) -> bool:
    """Whether a file may take long to decode, by its head; who does not say its size may.

    Raises as `admit` does.
    """
    media_type = admit(data, limits)
    size = stated_size(data, media_type)
    if size is None or is_large_size(size, limits):
        return True
    scans = data.count(START_OF_SCAN) if media_type == "image/jpeg" else 1  # a thumbnail's, too
    return scans * size[0] * size[1] > limits.max_scanned // 16


def is_large_size(size: Size, limits: Limits) -> bool:
    """More than a quarter of the pixels that are allowed."""
    return size[0] * size[1] > limits.max_pixels // 4


def split(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """RGB (H, W, 3) of what `decode` gives, and which pixels (H, W) can be seen; None: all."""
    if image.shape[2] == 3:
        return image, None
    return np.ascontiguousarray(image[..., :3]), image[..., 3] > 0


def _pixels(
    data: bytes, media_type: str, limits: Limits, background: str
) -> NDArray[np.uint8] | None:
    """None where it can't be decoded. Raises TooLarge or BadImage for the size it will have."""
    try:
        image = opened(data, media_type)
        size = image.size
        check_size(size, limits)  # as the decoder reads it
        pixels = decoded(image, data, media_type, background)
        return pixels if sorted(pixels.shape[:2]) == sorted(size) else None
    except (WeakpointsError, MemoryError):
        raise
    except Exception:  # of a broken file; Pillow's readers raise anything
        return None


def check_size(size: Size, limits: Limits) -> None:
    """Raises TooLarge or BadImage with limit and actual."""
    width, height = size
    _refuse("pixels", width * height, limits.max_pixels)
    _refuse("pixels on its longer side", max(size), limits.max_side)
    if min(size) < limits.min_side:
        raise BadImage(
            f"the image is {width} x {height} pixels; "
            f"each side must have at least {limits.min_side}",
            limit=limits.min_side,
            actual=min(size),
        )


def _refuse(what: str, actual: int, limit: int) -> None:
    if actual > limit:
        raise TooLarge(
            f"the image has {actual} {what}; at most {limit} are accepted",
            limit=limit,
            actual=actual,
        )
