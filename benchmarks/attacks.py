"""What a service that stands in the open is sent by those who mean no good.

Bombs, files that lie, connections that stall. Each attack returns the status that it was answered
with, if any came.
"""

import asyncio
import io
import random
import struct
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from PIL import Image

from weakpoints.images.header import readable

Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]
LARGEST_SIDE = 7000  # pixels of a side: 49 of the 50 megapixels that are allowed
OWN = (
    1024,
    960,
)  # a width and a height that are easily found in a file, whole blocks of each codec
HUGE = {"JPEG": (65_500, 65_500), "WEBP": (16_383, 16_383)}  # what the format can say at most
ATTACKED_FORMATS: dict[str, dict[str, Any]] = {  # as Pillow writes them, fast
    "JPEG": {},
    "PNG": {},
    "WEBP": {"quality": 1, "method": 0},
    "GIF": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_deflate"},
    "AVIF": {"speed": 10, "quality": 10},
    "HEIF": {"quality": 1},
}
SIZE_AS = {"JPEG": ">HH", "PNG": ">II", "WEBP": "<HH", "GIF": "<HH", "BMP": "<ii"}  # else ">II"


@cache
def attacks() -> dict[str, Attack]:
    """By name. Takes seconds the first time: the pictures are encoded."""
    kinds = [kind for kind in ATTACKED_FORMATS if kind != "HEIF" or _heic_is_read()]
    small = plain_picture("JPEG", 64, 64)
    scans = plain_picture("JPEG", 4000, 4000, progressive=True)
    return {
        **{f"bomb {kind}": sent(bomb(kind)) for kind in kinds},
        **{f"claims {kind}": sent(claims(kind)) for kind in kinds},
        "bomb, drawn": sent(bomb("JPEG"), "/heatmap?style=overlay"),
        "bomb, hung up": hung_up(bomb("PNG"), 0.5),
        "two frame headers": sent(two_headers(small)),
        "many scans": sent(more_scans(scans, 200)),
        "many scans, allowed": sent(more_scans(scans, 40)),
        "garbage": sent(random.Random(0).randbytes(100_000)),
        "dear": sent(small, "/detect?stride=1&patch=56&colours=6"),
        "dear, allowed": sent(small, "/detect?stride=1&patch=20&colours=2"),
        "no end of a head": no_head,
        "stalled": stalled(small),
        "byte by byte": byte_by_byte(small),
        "unread": unread(small),
        "hung up": hung_up(small, 0.02),
    }


def plain_picture(kind: str, width: int, height: int, **options: Any) -> bytes:
    """An even one, tiny as a file."""
    if kind == "BMP":
        return _run_lengths(width, height)
    mode = "RGB" if kind in ("WEBP", "AVIF", "HEIF") else "L"
    buffer = io.BytesIO()
    Image.new(mode, (width, height), "#5a5a5a").save(buffer, kind, **options)
    return buffer.getvalue()


def _run_lengths(width: int, height: int) -> bytes:
    """A BMP of 8 bits that is packed (RLE8), which Pillow reads and does not write."""
    full, rest = divmod(width, 255)
    line = b"\xff\0" * full + (bytes([rest, 0]) if rest else b"") + b"\0\0"
    body, colours = line * height + b"\0\1", bytes([90, 90, 90, 0]) * 256
    at = 14 + 40 + len(colours)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return struct.pack("<2sIHHI", b"BM", at + len(body), 0, 0, at) + info + colours + body


def bomb(kind: str) -> bytes:
    """As many pixels as are allowed; of HEIC fewer, which take half a minute to encode."""
    side = 2000 if kind == "HEIF" else LARGEST_SIDE
    return plain_picture(kind, side, side, **ATTACKED_FORMATS[kind])


def claims(kind: str) -> bytes:
    """A small file that says it is huge."""
    data, (width, height) = (
        plain_picture(kind, *OWN, **ATTACKED_FORMATS[kind]),
        HUGE.get(kind, (60_000, 60_000)),
    )
    if kind == "TIFF":  # each side is an entry of its own: tag, type, count, value
        for tag, own, claimed in ((256, OWN[0], width), (257, OWN[1], height)):
            data = _replaced(data, struct.pack("<HHIHH", tag, 3, 1, own, 0), "<HHIHH", tag, claimed)
        return data
    order = SIZE_AS.get(kind, ">II")
    was, now = (OWN, (width, height)) if kind != "JPEG" else (OWN[::-1], (height, width))
    old, new = struct.pack(order, *was), struct.pack(order, *now)
    assert old in data, kind
    return data.replace(old, new)


def _replaced(data: bytes, old: bytes, order: str, tag: int, value: int) -> bytes:
    assert old in data
    return data.replace(old, struct.pack(order, tag, 3, 1, value, 0))


def two_headers(data: bytes) -> bytes:
    """A JPEG with a second frame header, of another size."""
    at = data.index(b"\xff\xc0")
    end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    other = data[at : at + 5] + struct.pack(">HH", 12_000, 12_000) + data[at + 9 : end]
    return data[:end] + other + data[end:]


def more_scans(data: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    return data[:-2] + data[data.rindex(b"\xff\xc4") : -2] * count + data[-2:]


def request_head(length: int | None, path: str = "/detect") -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = (f"POST {path} HTTP/1.1", "host: x", "content-type: image/jpeg", framing, "", "")
    return "\r\n".join(lines).encode()


async def status(reader: asyncio.StreamReader) -> str:
    line = await reader.readuntil(b"\r\n")
    return line.split()[1].decode()


def sent(body: bytes, path: str = "/detect") -> Attack:
    async def go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(request_head(len(body), path) + body)
        return await status(reader)

    return go


async def no_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(request_head(9)[:-2])
    return await status(reader)


def stalled(body: bytes) -> Attack:
    async def go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(request_head(1_000_000) + body)
        return await status(reader)

    return go


def byte_by_byte(body: bytes) -> Attack:
    chunks = b"".join(b"1\r\n" + body[i % len(body) :][:1] + b"\r\n" for i in range(20_000))

    async def go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(request_head(None) + chunks + b"0\r\n\r\n")
        return await status(reader)

    return go


def unread(body: bytes) -> Attack:
    request = request_head(len(body), "/heatmap?style=gray16&size=image") + body

    async def go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(request * 20)
        await asyncio.sleep(3)
        return await status(reader)  # of the first: what else came, nobody reads

    return go


def hung_up(body: bytes, most: float) -> Attack:
    async def go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(request_head(len(body)) + body)
        await asyncio.sleep(random.uniform(0, most))
        return "hung up"

    return go


def _heic_is_read() -> bool:
    if "image/heic" not in readable():
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True
