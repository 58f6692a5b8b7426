"""Colours that a file names by numbers, as an ICC profile that Little CMS reads.

They are PNG's gAMA and cHRM, and the code points of ITU-T H.273 in PNG's cICP and in the box `nclx`
of AVIF and HEIC.
"""

import struct
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
# x and y of red, green, blue and white, by H.273's code points. Video's 5 to 7 are near BT.709's.
BT709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
PRIMARIES = {
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
}
D50 = np.array([0.9642, 1.0, 0.8249])  # the white of ICC profiles
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
WHITE_NITS = 203  # of a picture of high range (ITU-R BT.2408): what is brighter is white
STEPS = 4096  # of a curve


def srgb_curve(v: Numbers) -> Numbers:
    """From stored values in [0, 1] to light, as all curves here (IEC 61966-2-1)."""
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def pq_curve(v: Numbers) -> Numbers:
    """SMPTE ST 2084, 1 being WHITE_NITS."""
    root = v ** (1 / 78.84375)
    light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return 10_000 / WHITE_NITS * light ** (1 / 0.1593017578125)


def hlg_curve(v: Numbers) -> Numbers:
    """ARIB STD-B67 on a screen of 1,000 cd/m2, 1 being WHITE_NITS; each colour by itself."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    return 1000 / WHITE_NITS * scene**1.2


CURVES: dict[int, Callable[[Numbers], Numbers]] = {
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    8: lambda v: v,
    16: pq_curve,
    18: hlg_curve,
}  # by H.273's code points; others are near sRGB's, or not known


@cache
def profile_of_codes(primaries: int, transfer: int) -> bytes | None:
    """Of H.273's code points; None where they are sRGB's, near to it, or not known."""
    if primaries not in PRIMARIES and transfer not in CURVES:
        return None
    return profile(PRIMARIES.get(primaries, BT709), CURVES.get(transfer, srgb_curve))


def profile_of_gamma(gamma: float, primaries: tuple[float, ...] = BT709) -> bytes | None:
    """Of PNG's gAMA and cHRM; None where they are about sRGB's, or make no sense."""
    if len(primaries) != 8 or not 0.1 <= gamma <= 10 or min(primaries[1::2]) <= 0:
        return None
    usual = abs(gamma * 2.2 - 1) < 0.05  # 1/2.2 stands for sRGB's curve
    if usual and np.abs(np.subtract(primaries, BT709)).max() < 0.01:
        return None
    try:
        return profile(primaries, srgb_curve if usual else lambda v: v ** (1 / gamma))
    except (np.linalg.LinAlgError, struct.error):  # colours on one line
        return None


def profile(primaries: tuple[float, ...], curve: Callable[[Numbers], Numbers]) -> bytes:
    """An ICC profile, version 2, of three colours and one curve (ICC.1:2001-04)."""
    light = np.clip(curve(np.linspace(0, 1, STEPS)), 0, 1)
    values = np.rint(light * 65535).astype(">u2").tobytes()
    colours = to_d50(primaries).T
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 6) + b"codes\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(D50),
        **{name + b"XYZ": _xyz(xyz) for name, xyz in zip((b"r", b"g", b"b"), colours, strict=True)},
        **dict.fromkeys(
            (b"rTRC", b"gTRC", b"bTRC"), b"curv" + bytes(4) + struct.pack(">I", STEPS) + values
        ),
    }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = struct.pack(">I", start + len(body))
    head = size + bytes(4) + b"\x02\x40\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    head = (head + _xyz(D50)[8:]).ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + table + body


def to_d50(primaries: tuple[float, ...]) -> Numbers:
    """(3, 3): from light of these colours to XYZ, their white being D50's (Bradford)."""
    x, y = np.reshape(primaries, (4, 2)).T
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    cones = BRADFORD @ xyz[:, 3]
    return np.linalg.solve(BRADFORD, np.diag(BRADFORD @ D50 / cones) @ BRADFORD @ matrix)


def _xyz(values: Numbers) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)
