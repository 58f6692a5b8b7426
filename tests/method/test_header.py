import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.errors import BadImage, UnsupportedMedia, WeakpointsError
from app.method.header import read_body, read_header


def encoded(kind: str, **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (24, 31, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG with another whole JPEG, its end-of-image marker included, inside an APP1 segment."""
    plain, inner = encoded("JPEG"), encoded("JPEG", quality=5)
    return plain[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2) + inner + plain[2:]


FILES = {
    "baseline": encoded("JPEG"),
    "progressive": encoded("JPEG", progressive=True),
    "restarts": encoded("JPEG", restart_marker_blocks=1),
    "thumbnail": with_thumbnail(),
    "png": encoded("PNG"),
    "lossy": encoded("WEBP"),
    "lossless": encoded("WEBP", lossless=True),
    "extended": encoded("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
}


@pytest.mark.parametrize("name", FILES)
def test_size_and_type_are_read_without_decoding(name: str) -> None:
    header = read_header(FILES[name])
    assert (header.width, header.height) == (31, 24)
    assert header.media_type.removeprefix("image/") in ("jpeg", "png", "webp")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_keeps_its_size_or_has_none(name: str) -> None:
    data = FILES[name]
    for end in range(12, len(data)):
        try:
            header = read_header(data[:end])
        except BadImage as error:
            assert "cut short" in error.detail  # noqa: PT017
        else:
            assert (header.width, header.height) == (31, 24)


@pytest.mark.parametrize("name", FILES)
def test_bytes_after_the_end_go_no_further(name: str) -> None:
    data = FILES[name]
    header = read_header(data)
    assert read_body(data + b"motion photo", header, 10**9) == read_body(data, header, 10**9)


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"GIF89a" + bytes(9), "GIF"),
        (b"hello, world", "only JPEG"),
        (b"BM" + bytes(9), "BMP"),
        (b"\0", "only JPEG"),
    ],
)
def test_other_types_are_refused_by_name(data: bytes, looks: str) -> None:
    with pytest.raises(UnsupportedMedia, match=looks):
        read_header(data)


@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.integers(0, 2000),
)
def test_broken_bytes_raise_nothing_but_our_errors(
    name: str, changes: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(FILES[name][: max(length, 4)])
    for at, value in changes:
        data[at % len(data)] = value
    try:
        read_body(bytes(data), read_header(bytes(data)), 10**9)
    except WeakpointsError as error:
        assert error.status in (415, 422)  # noqa: PT017
