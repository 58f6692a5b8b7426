import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from weakpoints.errors import BadImage, BadOption, MalformedRequest, TooLarge, WeakpointsError
from weakpoints.images.decode import decode, is_large, read_file
from weakpoints.method.frame import InputSpec, frame_of, network_input
from weakpoints.options import Limits

MISSING = {
    ("JPEG", "RGBA"),
    ("JPEG", "LA"),
    ("JPEG", "P"),
    ("PNG", "CMYK"),
    ("JPEG", "I;16"),
    ("WEBP", "I;16"),
}  # kinds that no such file has
SPEC = InputSpec(56, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def test_a_file_is_read_to_its_end_or_to_where_it_is_too_large(tmp_path: Path) -> None:
    limits = Limits(max_bytes=2000)
    (tmp_path / "a").write_bytes(b"abc")
    assert read_file(tmp_path / "a", limits) == b"abc"
    (tmp_path / "large").write_bytes(bytes(5000))
    with pytest.raises(TooLarge, match="5000 bytes; at most 2000"):
        read_file(tmp_path / "large", limits)
    with pytest.raises(TooLarge, match="2001 bytes; at most 2000"):
        decode(read_file("/dev/zero", limits), limits)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", limits)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A whole PNG, but for its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16"])
def test_every_common_kind_of_pixel_comes_out_as_rgb(kind: str, mode: str) -> None:
    grey = np.tile(np.linspace(0, 255, 40), (30, 1)).astype(np.uint8)
    image = (
        Image.fromarray(grey.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(grey).convert("RGB").convert(mode, palette=Image.Palette.ADAPTIVE)
    )
    if (kind, mode) in MISSING:
        return
    data = encoded(image, kind)
    decoded = decode(data, Limits())
    assert decoded.shape == (30, 40, 3)
    assert decoded.dtype == np.uint8
    if mode != "1":
        assert np.abs(decoded.astype(int) - grey[..., None]).max() < 12


def test_channels_come_as_red_green_blue() -> None:
    assert decode(encoded(Image.new("RGB", (20, 20), (250, 100, 10))), Limits())[5, 5].tolist() == [
        250,
        100,
        10,
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:16, :16] = (255, 0, 0)
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(
        encoded(Image.fromarray(np.ascontiguousarray(turned)), "JPEG", exif=exif, quality=95),
        Limits(),
    )
    assert decoded.shape == (40, 60, 3)
    assert decoded[4, 4, 0] > 200 > 60 > decoded[-4, -4, 0]
    assert decoded[4, -4, 0] < 60


@pytest.mark.parametrize(
    ("data", "error", "figures"),
    [
        (b"", MalformedRequest, {"actual": 0}),
        (b"x" * 1001, TooLarge, {"limit": 1000, "actual": 1001}),
        (png_header(20_000, 20_000), TooLarge, {"limit": 50_000_000, "actual": 400_000_000}),
        (png_header(20_000, 20_000)[:33], TooLarge, {"limit": 50_000_000, "actual": 400_000_000}),
        (png_header(64, 64)[:33], BadImage, {"actual": 33}),
        (png_header(30_000, 20), TooLarge, {"limit": 16_384, "actual": 30_000}),
        (png_header(1, 1), BadImage, {"limit": 16, "actual": 1}),
        (png_header(50, 50), BadImage, {"actual": 57}),
    ],
)
def test_what_is_refused_says_the_limit_and_what_came(
    data: bytes, error: type[WeakpointsError], figures: dict[str, int]
) -> None:
    with pytest.raises(error) as raised:
        decode(data, Limits(max_bytes=1000))
    assert raised.value.figures == figures
    assert all(str(number) in raised.value.detail for number in figures.values())


def test_a_decompression_bomb_is_refused_before_memory_is_taken() -> None:
    tracemalloc.start()
    with pytest.raises(TooLarge):
        decode(png_header(20_000, 20_000), Limits())
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


boxes = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 400), st.integers(1, 400))


@given(st.integers(1, 300), boxes, st.booleans(), st.sampled_from(["squash", "letterbox"]))
def test_coordinates_survive_the_round_trip(
    side: int, roi: tuple[int, int, int, int], whole: bool, fit: str
) -> None:
    frame = frame_of(450, 450, side, fit, None if whole else roi)
    points = np.array([[0.0, 0.0], [side - 1, side - 1], [3.25, 7.5]])
    np.testing.assert_allclose(frame.to_network(frame.to_image(points)), points, atol=1e-9)
    left, top, right, bottom = (
        *frame.content[:2],
        frame.content[0] + frame.content[2],
        frame.content[1] + frame.content[3],
    )
    corners = frame.to_image(np.array([[left - 0.5, top - 0.5], [right - 0.5, bottom - 0.5]]))
    x, y, w, h = frame.box
    np.testing.assert_allclose(corners, [[x - 0.5, y - 0.5], [x + w - 0.5, y + h - 0.5]], atol=1e-9)
    assert frame.inside.sum() == frame.content[2] * frame.content[3] > 0


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
@pytest.mark.parametrize("roi", [None, (20, 30, 150, 90)])
@pytest.mark.parametrize(("width", "height"), [(300, 200), (40, 41), (500, 30)])
def test_a_blob_is_found_where_the_frame_says(
    fit: str, roi: tuple[int, int, int, int] | None, width: int, height: int
) -> None:
    if roi and (width, height) != (300, 200):
        return
    centre = (80.0, 70.0) if height > 100 else (25.0, 18.0)
    ys, xs = np.mgrid[:height, :width]
    blob = 255 * np.exp(
        -((xs - centre[0]) ** 2 + (ys - centre[1]) ** 2) / (2 * (2.0 if height == 30 else 6.0) ** 2)
    )
    image = np.repeat(np.rint(blob)[..., None], 3, 2).astype(np.uint8)
    x, frame = network_input(image, SPEC, fit, roi)
    bright = np.where(frame.inside, x[0, 0] - x[0, 0][frame.inside].min(), 0)
    v, u = np.mgrid[:56, :56]
    found = np.array([(bright * u).sum(), (bright * v).sum()]) / bright.sum()
    np.testing.assert_allclose(found, frame.to_network(np.array([centre]))[0], atol=0.5)


def test_the_input_is_normalised_and_the_margin_is_zero() -> None:
    x, frame = network_input(np.full((28, 56, 3), 128, np.uint8), SPEC, "letterbox", None)
    assert (x.shape, x.dtype) == ((1, 3, 56, 56), np.float32)
    np.testing.assert_allclose(
        x[0, :, 28, 28], (128 / 255 - np.array(SPEC.mean)) / SPEC.std, rtol=1e-5
    )
    assert np.abs(x[0][:, ~frame.inside]).max() < 0.02


@pytest.mark.parametrize("roi", [(-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 61, 5), (0, 38, 5, 3)])
def test_a_roi_outside_the_image_is_refused_with_both_sizes(roi: tuple[int, int, int, int]) -> None:
    with pytest.raises(BadOption) as raised:
        frame_of(60, 40, 56, "squash", roi)
    assert raised.value.figures == {"option": "roi", "limit": [60, 40], "actual": list(roi)}


def test_a_map_is_laid_back_over_its_box() -> None:
    frame = frame_of(100, 80, 56, "letterbox", (10, 20, 60, 30))
    values = np.where(frame.inside, 1.0, 0.0)
    laid = frame.map_to_image(values)
    assert laid.shape == (80, 100)
    assert laid[20:50, 10:70].min() == 1
    assert laid.sum() == 60 * 30


def test_opencv_agrees_on_where_a_resized_pixel_lies() -> None:
    ramp = np.tile(np.arange(200, dtype=np.float32), (50, 1))
    small = cv2.resize(ramp, (40, 50), interpolation=cv2.INTER_AREA)
    expected = frame_of(200, 50, 40, "squash", None).to_image(
        np.stack([np.arange(40), np.zeros(40)], 1)
    )[:, 0]
    np.testing.assert_allclose(small[0], expected, atol=1e-3)


@given(
    st.integers(20, 900),
    st.integers(20, 900),
    st.sampled_from(["squash", "letterbox"]),
    st.integers(20, 120),
)
def test_a_close_up_shows_the_same_box_no_finer_than_the_photograph(
    width: int, height: int, fit: str, side: int
) -> None:
    frame = frame_of(width, height, side, fit, (3, 5, width - 9, height - 8))
    grid = frame.close_up(3)
    assert grid.box == frame.box
    assert (grid.scale >= 1 - 1e-9).all()
    assert np.mean(frame.scale / grid.scale) <= 3 * 1.1 + 1
    corners = np.array([[-0.5, -0.5], np.subtract(grid.content[2:], 0.5)])
    np.testing.assert_allclose(grid.to_image(corners), [[2.5, 4.5], [width - 6.5, height - 3.5]])
    values = np.arange(side * side, dtype=float).reshape(side, side)
    assert grid.stretched(values, frame.content).shape == grid.content[3:1:-1]


def test_a_picture_of_many_pixels_or_scans_is_large_and_so_is_one_that_does_not_say() -> None:
    limits = Limits(max_pixels=40_000, max_scanned=160_000)
    jpeg = encoded(Image.new("L", (100, 100)), "JPEG")
    assert not is_large(jpeg, limits)
    assert is_large(encoded(Image.new("L", (101, 100)), "JPEG"), limits)
    assert is_large(jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] + jpeg[-2:], limits)
    assert is_large(encoded(Image.new("L", (20, 20)), "GIF"), limits)
    with pytest.raises(TooLarge):
        is_large(encoded(Image.new("L", (300, 300)), "PNG"), limits)
