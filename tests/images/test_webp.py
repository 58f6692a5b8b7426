"""WebP files as they come: animations, profiles, canvases that do not fit, cut ends."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from tests.service import encoded
from weakpoints.errors import BadImage
from weakpoints.images.decode import decode
from weakpoints.images.parts import MOST_PARTS
from weakpoints.images.webp import webp_body
from weakpoints.options import Limits

NOISE = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
PICTURE = Image.fromarray(NOISE).resize((112, 80))
TURNED = Image.Exif()
TURNED[0x0112] = 6
PROFILES = {"icc_profile": bytes(5000), "xmp": b"<x>" * 1001}
KINDS = {
    "lossy": encoded(PICTURE, "WEBP"),
    "lossless": encoded(PICTURE, "WEBP", lossless=True),
    "alpha": encoded(PICTURE.convert("RGBA"), "WEBP"),
    "profiles": encoded(PICTURE, "WEBP", **PROFILES),
    "turned": encoded(PICTURE, "WEBP", exif=TURNED, **PROFILES),
}


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"".join(chunks)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def chunks(data: bytes) -> dict[bytes, bytes]:
    """By a walk of the test's own."""
    found, at = {}, 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found[data[at : at + 4]] = data[at : at + 8 + size + size % 2]
        at += 8 + size + size % 2
    return found


@pytest.mark.parametrize("name", KINDS)
def test_pixels_and_orientation_go_on_and_nothing_else(name: str) -> None:
    data = KINDS[name]
    body = webp_body(data).data
    assert set(chunks(body)) <= {b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L", b"EXIF"}
    assert int.from_bytes(body[4:8], "little") == len(body) - 8
    upright = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    expected = np.rot90(upright, -1) if name == "turned" else upright
    np.testing.assert_allclose(decode(data, Limits()).astype(int), expected, atol=2)
    np.testing.assert_array_equal(decode(data + b"more", Limits()), decode(data, Limits()))
    more = riff(
        data[12:], chunk(b"ABCD", bytes(99)), chunk(b"XMP ", bytes(9)), KINDS["lossless"][12:]
    )
    np.testing.assert_array_equal(decode(more, Limits()), decode(data, Limits()))


def test_of_an_animation_the_first_picture_goes_on() -> None:
    others = [Image.fromarray(np.roll(NOISE, i, 1)).resize((112, 80)) for i in range(1, 5)]
    data = encoded(PICTURE, "WEBP", save_all=True, append_images=others, lossless=True)
    body = webp_body(data).data
    assert set(chunks(body)) == {b"VP8X", b"ANIM", b"ANMF"}
    assert len(body) < len(data) / 2
    np.testing.assert_array_equal(decode(data, Limits()), np.asarray(PICTURE))


def test_a_canvas_that_is_not_the_picture_s_is_refused() -> None:
    parts = chunks(KINDS["turned"])
    canvas = bytearray(parts[b"VP8X"])
    canvas[12:15] = (6000 - 1).to_bytes(3, "little")
    with pytest.raises(BadImage, match="on a canvas of 6000 x 80") as raised:
        decode(riff(bytes(canvas), parts[b"VP8 "]), Limits())
    assert raised.value.figures == {"limit": [6000, 80], "actual": [112, 80]}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_cut_behind_its_pixels_decodes_and_one_cut_before_is_refused(name: str) -> None:
    data = KINDS[name]
    parts = chunks(data)
    pixels = parts.get(b"VP8 ") or parts[b"VP8L"]
    end = data.index(pixels) + len(pixels)
    if name in ("profiles", "turned"):
        for cut in range(end, len(data), 97):
            assert decode(data[:cut], Limits()).shape[2] == 3
    for cut in (*range(12, end - 1, 53), end - 2):
        with pytest.raises(BadImage, match="broken or cut short"):
            decode(data[:cut], Limits())


def test_chunks_without_end_are_refused_soon() -> None:
    many = riff(KINDS["profiles"][12:30], chunk(b"ABCD", b"") * 2_000_000)
    start = time.process_time()
    with pytest.raises(BadImage, match=f"has {MOST_PARTS} chunks or more"):
        decode(many, Limits())
    assert time.process_time() - start < 1.5
