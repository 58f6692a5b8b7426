"""For `st run`, with SCHEMATHESIS_HOOKS=tests/schemathesis_hooks.py: bodies that are photographs,
most of them, time for their answer, and every form of it.

Nothing but what schemathesis brings, which lives in an environment of its own.
"""

import random
import struct
import zlib
from base64 import b64encode
from typing import Any

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

chance = random.Random(1)
ACCEPTED = ("*/*", "application/x-ndjson", "text/event-stream", "application/x-npz")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    case.headers = dict(case.headers or {}, Accept=chance.choice(ACCEPTED))
    case.headers.pop("X-Request-Timeout", None)  # else most have too little time: 504
    instances = case.body.get("instances") if isinstance(case.body, dict) else None
    for each in instances if isinstance(instances, list) else ():
        if isinstance(each, dict) and isinstance(each.get("b64"), str) and chance.random() < 0.9:
            each["b64"] = b64encode(png(40, 30, chance.randint(1, 255))).decode()
