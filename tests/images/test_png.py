"""PNG files as they come: unknown chunks, text, cut ends."""

import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.service import encoded
from weakpoints.errors import BadImage
from weakpoints.images.decode import decode
from weakpoints.images.parts import MOST_PARTS
from weakpoints.images.png import SIGNATURE, WANTED, png_body
from weakpoints.options import Limits

NOISE = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
PICTURE = Image.fromarray(NOISE).resize((112, 80))
TURNED = Image.Exif()
TURNED[0x0112] = 6
KINDS = {
    "rgb": encoded(PICTURE),
    "grey": encoded(PICTURE.convert("L")),
    "bits": encoded(PICTURE.convert("1")),
    "palette": encoded(PICTURE.convert("P"), transparency=3),
    "alpha": encoded(PICTURE.convert("RGBA")),
    "turned": encoded(PICTURE, exif=TURNED),
}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(data: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    at = data.index(before) - 4
    return data[:at] + b"".join(chunks) + data[at:]


def kinds(data: bytes) -> list[bytes]:
    """By a walk of the test's own."""
    found, at = [], len(SIGNATURE)
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4])
    assert at == len(data)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_text_and_what_is_unknown_does_not_reach_the_decoder(name: str) -> None:
    data = KINDS[name]
    bomb = zlib.compress(bytes(10**6))
    more = with_chunk(
        data,
        *[chunk(b"tEXt", b"a\0b")] * 3000,
        chunk(b"zTXt", b"a\0\0" + bomb),
        chunk(b"iTXt", b"a\0\1\0\0\0" + bomb),
        chunk(b"iCCP", b"a\0\0" + bomb),
        chunk(b"gAMA", struct.pack(">I", 10_000)),
        chunk(b"ABCD", b"critical, and unknown"),
        b"\0\0\0\1tEXtabrok",
    )
    expected = decode(data, Limits())
    np.testing.assert_array_equal(decode(more, Limits()), expected)
    assert set(kinds(png_body(more).data)) <= WANTED | {b"IEND"}
    np.testing.assert_array_equal(
        decode(data + chunk(b"IDAT", b"more"), Limits()), expected
    )  # what follows the end mark is not looked at


def test_the_pictures_of_an_animation_but_the_first_are_left_out() -> None:
    other = Image.fromarray(NOISE[::-1]).resize((112, 80))
    data = encoded(PICTURE, save_all=True, append_images=[other] * 3)
    assert b"fdAT" in data
    np.testing.assert_array_equal(decode(data, Limits()), np.asarray(PICTURE))
    assert set(kinds(png_body(data).data)) == {b"IHDR", b"IDAT", b"IEND"}


def test_text_in_a_real_file_changes_nothing() -> None:
    text = PngInfo()
    for i in range(200):
        text.add_text(f"key{i}", "x" * 5000, zip=bool(i % 2))
    data = encoded(PICTURE, pnginfo=text)
    np.testing.assert_array_equal(decode(data, Limits()), np.asarray(PICTURE))


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS", b"eXIf"])
def test_a_chunk_that_may_come_once_is_refused_the_second_time(kind: bytes) -> None:
    size = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    twice = with_chunk(KINDS["rgb"], *[chunk(kind, size)] * (1 if kind == b"IHDR" else 2))
    with pytest.raises(BadImage, match=f"second {kind.decode()}") as raised:
        decode(twice, Limits())
    assert raised.value.figures == {"limit": 1, "actual": 2}


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_end_mark_is_forgiven_where_every_pixel_is_there(name: str) -> None:
    data = KINDS[name]
    expected = decode(data, Limits())
    for end in range(len(data) - 16, len(data)):  # the checksum of the last IDAT may be lost, too
        np.testing.assert_array_equal(decode(data[:end], Limits()), expected)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_whose_pixels_are_not_all_there_is_refused_wherever_it_is_cut(name: str) -> None:
    data = KINDS[name]
    for end in (*range(8, len(data) - 23, 31), len(data) - 23):  # then 3 bytes of them are missing
        with pytest.raises(BadImage, match=r"broken or cut short|can't be decoded"):
            decode(data[:end], Limits())


def test_a_chunk_that_says_more_than_the_file_has_is_cut_where_the_file_ends() -> None:
    data = KINDS["rgb"]
    at = data.index(b"IDAT") - 4
    long = data[:at] + struct.pack(">I", 2**31 - 1) + data[at + 4 :]
    for body in (png_body(long), png_body(long + bytes(10))):
        assert len(body.data) < len(data) + 50
    text = with_chunk(data, struct.pack(">I", 2**32 - 1) + b"tEXt")
    with pytest.raises(BadImage, match="cut short"):
        decode(text, Limits())


def test_chunks_without_end_are_refused_soon() -> None:
    many = with_chunk(KINDS["rgb"], chunk(b"tEXt", b"") * 1_500_000)
    start = time.process_time()
    with pytest.raises(BadImage, match=f"has {MOST_PARTS} chunks or more"):
        decode(many, Limits())
    assert time.process_time() - start < 1.5
