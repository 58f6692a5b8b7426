"""PNG (W3C, third edition), walked from chunk to chunk, without inflating."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from weakpoints.errors import BadImage
from weakpoints.images.colours import BT709, profile_of_codes, profile_of_gamma
from weakpoints.images.parts import MOST_PARTS, Body, broken, cut_short, too_many_parts

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What the pixels, their colours and their orientation are made of. Text, times and the later
# pictures of an animation are left out: the decoder would keep or inflate them for nothing.
WANTED = {b"IHDR", b"iCCP", b"PLTE", b"tRNS", b"eXIf", b"IDAT"}
ONCE = WANTED - {b"IDAT"}
COLOURS = {b"cICP", b"sRGB", b"gAMA", b"cHRM"}  # what the colours are, told by numbers
MOST_PROFILE = 2**20  # bytes: of a larger one the colours are taken as sRGB's
END = b"\0\0\0\0IEND" + zlib.crc32(b"IEND").to_bytes(4)


@dataclass(frozen=True)
class Chunk:
    """start: of its length; end: behind its checksum, which may lie past the end of a cut file."""

    kind: bytes
    start: int
    end: int


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises BadImage where the first chunk is no whole header."""
    if data[8:16] != b"\0\0\0\x0dIHDR" or len(data) < 33:
        raise broken("PNG", data)
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def png_body(data: bytes) -> Body:
    """The chunks that make the picture, and an end.

    Raises BadImage for a chunk that comes twice.
    """
    parts, seen, pixels, orientation = [SIGNATURE], set[bytes](), 0, b""
    profile, named = b"", dict[bytes, bytes]()
    for chunk in _chunks(data):
        if chunk.kind in COLOURS:
            named.setdefault(chunk.kind, data[chunk.start + 8 : chunk.end - 4])
        if chunk.kind not in WANTED:
            seen |= {chunk.kind} & {b"IEND"}
            continue
        if chunk.kind in ONCE & seen:
            name = chunk.kind.decode()
            raise BadImage(f"the PNG has a second {name}; one is read", limit=1, actual=2)
        seen.add(chunk.kind)
        pixels += chunk.end - chunk.start - 12 if chunk.kind == b"IDAT" else 0
        if chunk.kind == b"eXIf":
            orientation = _whole(data, chunk)
        elif chunk.kind != b"iCCP":
            parts.append(_whole(data, chunk))
        elif _is_profile(data[chunk.start + 8 : chunk.end - 4]):
            profile = _whole(data, chunk)
    if not pixels:
        raise cut_short("PNG", data)
    # The orientation may lie behind the pixels; Pillow knows it there only once they are decoded.
    parts[2:2] = [_profile_by_numbers(named, bool(profile)) or profile, orientation]
    return Body(b"".join((*parts, END)), ended=b"IEND" in seen)


def _profile_by_numbers(named: dict[bytes, bytes], has_profile: bool) -> bytes:
    """A chunk for the colours that others name; they count in the order of the standard (4.3)."""
    found = None
    if len(codes := named.get(b"cICP", b"")) == 4:
        found = profile_of_codes(codes[0], codes[1])
    elif not has_profile and b"sRGB" not in named and len(gamma := named.get(b"gAMA", b"")) == 4:
        values = struct.iter_unpack(">I", named.get(b"cHRM", b"").ljust(32, b"\0")[:32])
        white, *colours = np.reshape([value / 1e5 for (value,) in values], (4, 2))
        primaries = tuple(np.ravel([*colours, white])) if b"cHRM" in named else BT709
        found = profile_of_gamma(int.from_bytes(gamma) / 1e5, primaries)
    if found is None:
        return b""
    content = b"codes\0\0" + zlib.compress(found, 1)
    checksum = zlib.crc32(b"iCCP" + content)
    return len(content).to_bytes(4) + b"iCCP" + content + checksum.to_bytes(4)


def _is_profile(content: bytes) -> bool:
    """Whether Pillow reads the colour profile; where it does not it would refuse the picture.

    A name, its end, the method (0) and the deflated profile, of at most MOST_PROFILE bytes.
    """
    name, end, deflated = content.partition(b"\0")
    if not end or not name or deflated[:1] != b"\0":
        return False
    inflate = zlib.decompressobj()
    try:
        return len(inflate.decompress(deflated[1:], MOST_PROFILE + 1)) <= MOST_PROFILE
    except zlib.error:
        return False


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Every chunk to the end mark, the last of a cut file too."""
    at = len(SIGNATURE)
    for _ in range(MOST_PARTS):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if len(kind) < 4:
            return
        yield Chunk(kind, at, end)
        if kind == b"IEND":
            return
        at = end
    raise too_many_parts("PNG", "chunks")


def _whole(data: bytes, chunk: Chunk) -> bytes:
    """The chunk; of one that is cut, what is there.

    Whether pixels are missing, the decoder sees.
    """
    if chunk.end <= len(data):
        return data[chunk.start : chunk.end]
    content = data[chunk.start + 8 : min(chunk.end - 4, len(data))]
    checksum = zlib.crc32(chunk.kind + content)
    return len(content).to_bytes(4) + chunk.kind + content + checksum.to_bytes(4)
