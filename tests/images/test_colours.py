"""Colours that are named by numbers, against the same formulas on each pixel in float64."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.images.test_png import chunk
from tests.service import encoded
from weakpoints.images.colours import BT709, PRIMARIES, profile_of_codes, profile_of_gamma
from weakpoints.images.decode import decode
from weakpoints.options import Limits

COLOURS = np.stack(np.meshgrid(*[np.arange(40, 256, 27)] * 3), -1).reshape(32, 16, 3)
PLAIN = encoded(Image.fromarray(COLOURS.astype(np.uint8)))
P3 = PRIMARIES[12]


def with_chunks(**chunks: bytes) -> bytes:
    parts = b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    return PLAIN[:33] + parts + PLAIN[33:]


def chromaticities(primaries: tuple[float, ...]) -> bytes:
    values = (*primaries[6:], *primaries[:6])  # white comes first
    return struct.pack(">8I", *(round(v * 1e5) for v in values))


def matrix(primaries: tuple[float, ...]) -> np.ndarray:
    """(3, 3): light to XYZ, by the definition of chromaticity."""
    columns = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in np.reshape(primaries, (4, 2))]
    rgb = np.stack(columns[:3], 1)
    return rgb @ np.diag(np.linalg.inv(rgb) @ columns[3])


def expected(primaries: tuple[float, ...], to_light: Callable[[float], float]) -> np.ndarray:
    """(H, W, 3) sRGB of COLOURS; the whites are the same."""
    light = np.vectorize(to_light)(COLOURS / 255)
    linear = light @ (np.linalg.inv(matrix(BT709)) @ matrix(primaries)).T
    v = linear.clip(0, 1)
    return 255 * np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)


def srgb(v: float) -> float:
    return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4


def pq(v: float) -> float:
    """cd/m2 over 203: BT.2100, table 4."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 128, 2392 / 128
    e = v ** (1 / m2)
    return min(1, 10_000 * (max(e - c1, 0) / (c2 - c3 * e)) ** (1 / m1) / 203)


def assert_near(data: bytes, colours: np.ndarray) -> None:
    error = np.abs(decode(data, Limits()).astype(float) - colours)
    assert error.max() <= 6
    assert error.mean() < 1


@pytest.mark.parametrize(
    ("codes", "primaries", "to_light"),
    [
        ((12, 13), P3, srgb),
        ((9, 13), PRIMARIES[9], srgb),
        ((1, 8), BT709, lambda v: v),
        ((1, 4), BT709, lambda v: v**2.2),
        ((9, 16), PRIMARIES[9], pq),
    ],
)
def test_code_points_are_the_colours_that_h273_gives_them(
    codes: tuple[int, int], primaries: tuple[float, ...], to_light: Callable[[float], float]
) -> None:
    assert_near(with_chunks(cICP=bytes([*codes, 0, 1])), expected(primaries, to_light))


def test_gamma_and_primaries_of_a_png_count_where_nothing_else_is_said() -> None:
    linear = struct.pack(">I", 100_000)
    assert_near(with_chunks(gAMA=linear), expected(BT709, lambda v: v))
    usual = struct.pack(">I", 45_455)
    assert_near(with_chunks(gAMA=usual, cHRM=chromaticities(P3)), expected(P3, srgb))
    for silent in (
        {"gAMA": usual},
        {"gAMA": usual, "cHRM": chromaticities(BT709)},
        {"gAMA": linear, "sRGB": b"\0"},
        {"cHRM": chromaticities(P3)},
        {"cICP": bytes([1, 13, 0, 1]), "gAMA": linear},
        {"gAMA": b"\0\1"},
        {"cICP": b"\0"},
    ):
        np.testing.assert_array_equal(decode(with_chunks(**silent), Limits()), COLOURS)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_the_box_of_a_heif_file_counts_as_the_chunk_of_a_png(kind: str) -> None:
    data = encoded(Image.fromarray(COLOURS.astype(np.uint8)), kind, quality=100)
    at = data.index(b"colrnclx") + 8
    plain = decode(data, Limits())
    wide = decode(data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :], Limits())
    same = encoded(Image.fromarray(plain))
    by_chunk = decode(same[:33] + chunk(b"cICP", bytes([12, 13, 0, 1])) + same[33:], Limits())
    assert np.abs(by_chunk.astype(int) - plain).mean() > 3
    np.testing.assert_array_equal(wide, by_chunk)


@given(st.binary(max_size=8), st.binary(max_size=40), st.binary(max_size=6))
def test_numbers_that_make_no_sense_leave_the_picture_readable(
    gamma: bytes, primaries: bytes, codes: bytes
) -> None:
    for chunks in ({"gAMA": gamma, "cHRM": primaries}, {"cICP": codes}):
        assert decode(with_chunks(**chunks), Limits()).shape[:2] == (32, 16)


def test_what_is_srgb_or_not_known_has_no_profile() -> None:
    assert profile_of_codes(1, 13) is profile_of_codes(2, 2) is profile_of_codes(99, 200) is None
    assert profile_of_gamma(0, P3) is profile_of_gamma(1, ()) is None
    assert profile_of_gamma(1, (0.5, 0.5) * 4) is None
