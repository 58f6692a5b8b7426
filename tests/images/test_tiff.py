"""TIFFs of scanners, of science and of cameras: the same picture as in 8 bits, or a refusal."""

import struct
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakpoints.errors import BadImage, UnsupportedMedia, WeakpointsError
from weakpoints.images.decode import decode
from weakpoints.images.tiff import is_camera_raw, tiff_body
from weakpoints.options import Limits

SIZES = {1: "B", 3: "H", 4: "I"}
RGB = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
GREY = RGB[..., 0]


def tiff(
    pixels: np.ndarray,
    order: str,
    *,
    planar: int = 1,
    photometric: int | None = None,
    kind: int = 1,
    more: dict[int, tuple[int, list[int]]] | None = None,
    next_at: int = 0,
) -> bytes:
    """(H, W) or (H, W, C) unsigned or signed integers, in one strip or in one a plane."""
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    bits, last = pixels.dtype.itemsize * 8, samples if planar == 2 else 1
    planes = np.moveaxis(pixels, 2, 0) if planar == 2 and samples > 1 else pixels
    body = planes.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if photometric is None:
        photometric = 2 if samples > 1 else 1
    tags = {
        256: (4, [pixels.shape[1]]), 257: (4, [pixels.shape[0]]), 258: (3, [bits] * samples),
        259: (3, [1]), 262: (3, [photometric]), 273: (4, [0] * last), 277: (3, [samples]),
        278: (4, [pixels.shape[0]]), 279: (4, [len(body) // last] * last), 284: (3, [planar]),
        339: (3, [kind] * samples),
    } | (more or {})  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    far = sum(
        size for t, v in tags.values() if (size := struct.calcsize(f"{len(v)}{SIZES[t]}")) > 4
    )
    tags[273] = (4, [start + far + i * len(body) // last for i in range(last)])
    entries = extra = b""
    for tag, (kind_of, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{SIZES[kind_of]}", *values)
        entries += struct.pack(f"{order}HHI", tag, kind_of, len(values))
        if len(packed) > 4:
            entries += struct.pack(f"{order}I", start + len(extra))
            extra += packed
        else:
            entries += packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + struct.pack(f"{order}I", next_at) + extra + body


@pytest.mark.parametrize(
    ("order", "deep", "planar", "inverse", "colour"),
    [*product("<>", (False, True), (1, 2), (False, True), (False, True))],
)
def test_a_picture_is_that_of_8_bits_or_is_refused_for_what_it_is(
    order: str, deep: bool, planar: int, inverse: bool, colour: bool
) -> None:
    if inverse and colour:
        return
    image = RGB if colour else GREY
    stored = 255 - image if inverse else image
    if deep:
        stored = stored.astype(np.uint16) * 257
    data = tiff(stored, order, planar=planar, photometric=0 if inverse else None)
    expected = RGB if colour else np.repeat(GREY[..., None], 3, 2)
    if deep and ((planar == 2 and colour) or inverse):
        with pytest.raises(BadImage, match="white is zero" if inverse else "planes"):
            decode(data, Limits())
    else:
        np.testing.assert_array_equal(decode(data, Limits()), expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("photometric", "samples"), [(0, 2), (1, 2), (8, 3), (9, 3)])
def test_planes_that_are_no_colours_are_refused_for_what_they_are(
    order: str, photometric: int, samples: int
) -> None:
    # Pillow reads grey with opacity, and CIELab, in planes as another picture, without a word.
    more = {338: (3, [2])} if samples == 2 else {}
    data = tiff(RGB[..., :samples], order, planar=2, photometric=photometric, more=more)
    with pytest.raises(BadImage, match=f"{samples} planes of PhotometricInterpretation"):
        decode(data, Limits())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("kind", "dtype", "words"),
    [
        (2, np.int8, "signed integers"),
        (2, np.int16, "signed integers"),
        (3, np.uint16, "floating-point"),
        (3, np.uint32, "32 bits; 8 and 16"),
        (2, np.int32, "32 bits; 8 and 16"),
        (1, np.uint64, "64 bits; 8 and 16"),
    ],
)
def test_other_samples_are_refused_by_their_name(
    order: str, kind: int, dtype: type, words: str
) -> None:
    for image in (GREY, RGB):
        with pytest.raises(BadImage, match=words):
            decode(tiff((image // 2).astype(dtype), order, kind=kind), Limits())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deep", [False, True])
def test_a_palette_has_16_bits_or_8_as_old_writers_make_it(order: str, deep: bool) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (3, 256))
    stored = (colours * 257 if deep else colours).ravel().tolist()
    data = tiff(GREY, order, photometric=3, more={320: (3, stored)})
    np.testing.assert_array_equal(decode(data, Limits()), colours.T[GREY])
    for broken in (data[:200], data.replace(struct.pack(f"{order}HH", 320, 3), bytes(4))):
        with suppress(WeakpointsError):
            decode(broken, Limits())


@pytest.mark.parametrize("order", "<>")
def test_what_does_not_say_whether_black_is_zero_is_refused(order: str) -> None:
    data = tiff(GREY, order).replace(
        struct.pack(f"{order}HH", 262, 3), struct.pack(f"{order}HH", 65000, 3)
    )
    with pytest.raises(BadImage, match="PhotometricInterpretation"):
        decode(data, Limits())


def test_big_tiff_is_named() -> None:
    for head in (b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"):
        with pytest.raises(UnsupportedMedia, match="looks like BigTIFF"):
            decode(head + bytes(200), Limits())


@pytest.mark.parametrize("order", "<>")
def test_12_bits_are_refused(order: str) -> None:
    with pytest.raises(BadImage, match="12 bits"):
        decode(tiff(GREY, order, more={258: (3, [12])}), Limits())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("more", "next_at"),
    [
        ({50706: (1, [1, 4, 0, 0])}, 0),  # DNGVersion
        ({254: (4, [1]), 330: (4, [8])}, 0),  # a thumbnail, and the picture in a SubIFD
        ({254: (4, [1])}, 8),  # a thumbnail before the picture
        ({255: (3, [2])}, 8),  # the same in the older tag
        ({262: (3, [32803])}, 0),  # a colour filter array
        ({262: (3, [34892])}, 0),  # linear raw
    ],
)
def test_a_camera_s_raw_file_is_not_answered_on_its_thumbnail(
    order: str, more: dict, next_at: int
) -> None:
    with pytest.raises(UnsupportedMedia, match="a camera's raw file"):
        decode(tiff(RGB, order, more=more, next_at=next_at), Limits())


@pytest.mark.parametrize(
    "head",
    [b"IIRO\x08\0\0\0", b"IIU\0\x18\0\0\0", b"FUJIFILMCCD-RAW ", b"II*\0\x10\0\0\0CR\x02\0",
     b"\0\0\0\x18ftypcrx \0\0\0\1"],
)  # fmt: skip
def test_raw_files_that_are_no_tiff_are_named_too(head: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="a camera's raw file"):
        decode(head + bytes(200), Limits())


@pytest.mark.parametrize("order", "<>")
def test_smaller_copies_behind_the_picture_do_not_make_it_a_raw_file(order: str) -> None:
    for more in ({254: (4, [0]), 330: (4, [8])}, {254: (4, [0])}, {255: (3, [1])}):
        data = tiff(RGB, order, more=more)
        assert not is_camera_raw(data)
        np.testing.assert_array_equal(decode(data, Limits()), RGB)


@given(st.integers(0, 7), st.binary(max_size=60), st.integers(4, 160))
def test_any_directory_is_walked_without_a_traceback(start: int, noise: bytes, at: int) -> None:
    for order in "<>":
        data = bytearray(tiff(RGB, order))
        data[at : at + len(noise)] = noise
        is_camera_raw(bytes(data[: max(len(data) - start * 50, 8)]))
        with suppress(WeakpointsError):
            assert len(tiff_body(bytes(data))) == len(data)
