"""JPEG files as they come: two frames, many scans, a missing end, fill bytes."""

import re
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.service import encoded
from weakpoints.errors import BadImage, TooLarge
from weakpoints.images.decode import decode
from weakpoints.images.jpeg import jpeg_body, jpeg_size
from weakpoints.images.parts import MOST_PARTS
from weakpoints.options import Limits

NOISE = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
PICTURE = Image.fromarray(NOISE).resize((112, 80))
END = b"\xff\xd9"
KINDS = {
    "baseline": encoded(PICTURE, "JPEG"),
    "4:4:4": encoded(PICTURE, "JPEG", subsampling=0, quality=95),
    "grey": encoded(PICTURE.convert("L"), "JPEG"),
    "cmyk": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "restarts": encoded(PICTURE, "JPEG", restart_marker_blocks=3),
    "progressive restarts": encoded(PICTURE, "JPEG", progressive=True, restart_marker_rows=1),
}


def frame_header(data: bytes) -> slice:
    found = re.search(rb"\xff[\xc0\xc2]", data)
    assert found is not None
    return slice(found.start(), found.start() + 2 + int.from_bytes(data[found.start() + 2 :][:2]))


def that_says(data: bytes, width: int, height: int) -> bytes:
    """The same picture under a header of another size."""
    at = frame_header(data)
    head = data[at]
    return (
        data[: at.start] + head[:5] + struct.pack(">HH", height, width) + head[9:] + data[at.stop :]
    )


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_scans(data: bytes, count: int) -> bytes:
    """A progressive file whose last scan, with its tables, comes so many times more."""
    last = data[data.rindex(b"\xff\xc4") : -2]
    return data[:-2] + last * count + END


@pytest.mark.parametrize("second", [0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCF])
@pytest.mark.parametrize("behind", ["scan", "header"])
def test_a_second_frame_header_is_refused_and_the_first_is_believed(
    second: int, behind: str
) -> None:
    data = KINDS["baseline"]
    at = frame_header(data)
    again = bytes([0xFF, second]) + data[at][2:]
    place = len(data) - 2 if behind == "scan" else at.stop
    two = data[:place] + again + data[place:]
    with pytest.raises(BadImage, match="second frame header") as raised:
        decode(two, Limits())
    assert raised.value.figures == {"limit": 1, "actual": 2}
    huge = that_says(two, 12_000, 12_000)
    tracemalloc.start()
    with pytest.raises(TooLarge) as large:
        decode(huge, Limits())
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert large.value.figures == {"limit": 50_000_000, "actual": 144_000_000}


def test_a_frame_header_inside_a_segment_or_behind_the_end_is_none() -> None:
    data = KINDS["baseline"]
    other = that_says(data, 30_000, 30_000)
    inside = data[:2] + segment(0xE1, other[:60_000]) + segment(0xFE, other[:5000]) + data[2:]
    for harmless in (inside, data + other, data + bytes(1000)):
        np.testing.assert_array_equal(decode(harmless, Limits()), decode(data, Limits()))
        assert jpeg_body(harmless, 10**9).data.endswith(data[-50:])


def test_stuffed_bytes_between_segments_hide_no_frame_header() -> None:
    """libjpeg takes FF00 outside of a scan for nothing, not for a segment with a length."""
    data = KINDS["baseline"]
    hidden = b"\xff\x00" + struct.pack(">H", 2 + len(data[frame_header(data)]))
    large = that_says(data, 20_000, 20_000)[frame_header(data)]
    with pytest.raises(TooLarge):
        decode(data[:2] + hidden + large + data[2:], Limits())


@pytest.mark.parametrize(("scans", "most"), [(3, 9), (40, 45)])
def test_scans_times_pixels_have_a_limit(scans: int, most: int) -> None:
    data = KINDS["progressive"]
    usual = jpeg_scans(data)
    area = 112 * 80
    many = with_scans(data, scans)
    with pytest.raises(BadImage, match=f"at most {most * area} are decoded") as raised:
        decode(many, Limits(max_scanned=most * area))
    assert raised.value.figures == {"limit": most * area, "actual": (most + 1) * area}
    assert decode(many, Limits(max_scanned=(usual + scans) * area)).shape == (80, 112, 3)


def jpeg_scans(data: bytes) -> int:
    return len(re.findall(rb"\xff\xda\x00[\x08\x0c]", data))


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_end_mark_is_forgiven_where_every_pixel_is_there(name: str) -> None:
    data = KINDS[name]
    expected = decode(data, Limits())
    for cut in (data[:-2], data[:-1], data[:-2] + b"\xff\xff", data[:-2] + bytes(100)):
        np.testing.assert_array_equal(decode(cut, Limits()), expected)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_whose_pixels_are_not_all_there_is_refused_wherever_it_is_cut(name: str) -> None:
    data = KINDS[name]
    for end in (*range(4, len(data) - 6, 41), *range(len(data) - 60, len(data) - 5)):
        with pytest.raises(BadImage, match=r"broken or cut short|can't be decoded"):
            decode(data[:end], Limits())


def test_a_file_cut_between_two_restarts_is_refused() -> None:
    data = KINDS["restarts"]
    for found in list(re.finditer(rb"\xff[\xd0-\xd7]", data))[-9:]:
        for end in found.span():
            with pytest.raises(BadImage, match="cut short"):
                decode(data[:end], Limits())


@pytest.mark.parametrize(
    "filler",
    [
        b"\xff" * 2**23,
        b"\xff\x00" * 2**22,
        b"\0" * 2**23,
        b"\xff\xd0" * 2**22,
        b"\xff\xfe\0\2" * 2**21,
    ],
    ids=["fill bytes", "stuffed", "garbage", "restarts", "comments"],
)
@pytest.mark.parametrize("place", ["front", "scan"])
def test_a_long_walk_is_a_short_one(filler: bytes, place: str) -> None:
    """8 MiB: a loop over bytes, or over all of the markers, would take many times as long."""
    data = KINDS["baseline"]
    at = 2 if place == "front" else len(data) - 2
    long = data[:at] + filler + data[at:]
    start = time.process_time()
    try:
        jpeg_body(long, 10**9)
    except BadImage as error:
        assert error.figures["actual"] in (MOST_PARTS, len(long))  # noqa: PT017
    assert time.process_time() - start < 1
    assert (read_or_none(long) or (112, 80)) == (112, 80)


def read_or_none(data: bytes) -> tuple[int, int] | None:
    try:
        return jpeg_size(data)
    except BadImage:
        return None


@given(st.sampled_from(sorted(KINDS)), st.binary(min_size=1, max_size=30), st.integers(0, 2**16))
def test_whatever_is_put_in_the_size_is_the_header_s_or_it_is_refused(
    name: str, extra: bytes, place: int
) -> None:
    data = KINDS[name]
    place = 2 + place % (len(data) - 2)
    mutant = data[:place] + extra + data[place:]
    try:
        width, height = jpeg_size(mutant)
        image = decode(mutant, Limits())
    except (BadImage, TooLarge):
        return
    assert image.shape == (height, width, 3)
