"""For `st run`, with SCHEMATHESIS_HOOKS=tests/schemathesis_hooks.py: bodies that are photographs,
most of them, so that answers are checked, too.

Nothing but what schemathesis brings, which lives in an environment of its own.
"""

import struct
import zlib

import schemathesis
from hypothesis import strategies as st


def png(width: int, height: int, seed: int) -> bytes:
    """Blocks of colours that the seed decides."""
    rows = b"".join(
        b"\0"
        + b"".join(
            bytes((seed * (x // 8 + 1) * (y // 8 + 3) * k) % 256 for k in (5, 7, 11))
            for x in range(width)
        )
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


sides = st.integers(16, 96)
pictures = st.builds(png, sides, sides, st.integers(1, 255))
bodies = st.one_of(pictures, pictures, pictures, st.binary(max_size=200))
for kind in ("image/jpeg", "image/png", "image/webp"):
    schemathesis.openapi.media_type(kind, bodies)
schemathesis.openapi.format("binary", bodies)
