"""EXIF's orientation: of each type of number, in each byte order, in each format."""

import io
import struct
from itertools import product

import numpy as np
import pytest
from PIL import Image

from tests.images.test_png import chunk
from weakpoints.images.decode import decode
from weakpoints.images.pixels import UPRIGHT
from weakpoints.options import Limits

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 3, 3), np.uint8)).resize(
    (48, 64), Image.Resampling.NEAREST
)
TYPES = {  # number in the file: how the value is packed
    1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii",
}  # fmt: skip
DIVIDED = {5, 10}
NUMBERS = range(1, 9)


def exif(order: str, kind: int, value: int, count: int = 1) -> bytes:
    """One tag, 0x0112, behind the header of EXIF."""
    values = [value, 1] if kind in DIVIDED else [value] * count
    packed = struct.pack(order + TYPES[kind][0] * len(values), *values)
    far = len(packed) > 4
    place = struct.pack(f"{order}I", 26) if far else packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1)
    entry = struct.pack(f"{order}HHI", 0x0112, kind, 1 if kind in DIVIDED else count)
    return b"Exif\0\0" + head + entry + place + bytes(4) + (packed if far else b"")


def written(kind: str, block: bytes) -> bytes:
    buffer = io.BytesIO()
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    PICTURE.save(buffer, kind, **({"exif": block} if kind != "PNG" else {}), **options)
    data = buffer.getvalue()
    if kind != "PNG":
        return data
    return data[:33] + chunk(b"eXIf", block[6:]) + data[33:]


def expected(orientation: int) -> np.ndarray:
    transpose = UPRIGHT.get(orientation)
    return np.asarray(PICTURE if transpose is None else PICTURE.transpose(transpose)).astype(int)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", "<>")
def test_every_type_of_number_in_both_byte_orders_turns_the_picture(kind: str, order: str) -> None:
    for type_of, value in product(TYPES, NUMBERS):
        image = decode(written(kind, exif(order, type_of, value)), Limits()).astype(int)
        assert image.shape == expected(value).shape, (type_of, value)
        assert np.abs(image - expected(value)).mean() < 8, (type_of, value)


@pytest.mark.filterwarnings("ignore:Metadata Warning")  # Pillow says it, and takes the first
@pytest.mark.parametrize("order", "<>")
def test_of_several_numbers_the_first_counts(order: str) -> None:
    for type_of in (1, 3, 4, 7):
        image = decode(written("PNG", exif(order, type_of, 6, count=2)), Limits())
        np.testing.assert_array_equal(image, expected(6))


@pytest.mark.parametrize("value", [0, 9, 200])
def test_a_number_that_means_nothing_leaves_the_picture_as_it_is(value: int) -> None:
    image = decode(written("PNG", exif(">", 4, value)), Limits())
    np.testing.assert_array_equal(image, expected(1))


def test_an_orientation_behind_the_pixels_of_a_png_counts() -> None:
    turned = chunk(b"eXIf", exif("<", 3, 8)[6:])
    bare = written("PNG", exif("<", 3, 8)).replace(turned, b"")
    end = bare.rindex(b"IEND") - 4
    moved = bare[:end] + turned + bare[end:]
    np.testing.assert_array_equal(decode(moved, Limits()), expected(8))
