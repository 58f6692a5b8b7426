import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from weakpoints.errors import BadImage, UnsupportedMedia, WeakpointsError
from weakpoints.images.header import media_type_of, read_body, readable, stated_size


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
    media_type = media_type_of(FILES[name])
    assert stated_size(FILES[name], media_type) == (31, 24)
    assert media_type.removeprefix("image/") in ("jpeg", "png", "webp")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_keeps_its_size_or_has_none(name: str) -> None:
    data = FILES[name]
    for end in range(12, len(data)):
        try:
            size = stated_size(data[:end], media_type_of(data))
        except BadImage as error:
            assert "cut short" in error.detail  # noqa: PT017
        else:
            assert size == (31, 24)


@pytest.mark.parametrize("name", FILES)
def test_bytes_after_the_end_go_no_further(name: str) -> None:
    data = FILES[name]
    kind = media_type_of(data)
    assert read_body(data + b"motion photo", kind, 10**9) == read_body(data, kind, 10**9)


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"%PDF-1.7", "AVIF and HEIC are read; this looks like PDF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "looks like JPEG XL"),
        (b"hello, world", "only JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF"),
        (b"BM and more text, but no bitmap", "only JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "only JPEG"),
        (b"\0", "only JPEG"),
    ],
)
def test_other_types_are_refused_by_name(data: bytes, looks: str) -> None:
    with pytest.raises(UnsupportedMedia, match=looks) as raised:
        media_type_of(data)
    assert raised.value.figures == {"supported": readable()}


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"avif\0\0\0\0mif1miaf", "avif"),
        (b"mif1\0\0\0\0mif1avif", "avif"),
        (b"heic\0\0\0\0mif1heic", "heic"),
        (b"mif1\0\0\0\0mif1heix", "heic"),
    ],
)
def test_avif_and_heic_are_told_apart_by_their_brands(brands: bytes, kind: str) -> None:
    data = (len(brands) + 8).to_bytes(4) + b"ftyp" + brands
    assert media_type_of(data) == f"image/{kind}"
    assert stated_size(data, f"image/{kind}") is None


def test_where_an_extra_is_missing_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weakpoints.images.header.find_spec", lambda name: None)
    with pytest.raises(UnsupportedMedia, match=r"pip install '\.\[heic\]'") as raised:
        media_type_of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert raised.value.figures["extra"] == "heic"
    assert "image/heic" not in readable()


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
        kind = media_type_of(bytes(data))
        stated_size(bytes(data), kind)
        read_body(bytes(data), kind, 10**9)
    except WeakpointsError as error:
        assert error.status in (415, 422)  # noqa: PT017
