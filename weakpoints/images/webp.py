"""WebP (RFC 9649), walked from chunk to chunk, without decoding."""

from collections.abc import Iterator

from weakpoints.errors import BadImage
from weakpoints.images.parts import MOST_PARTS, Body, Size, broken, cut_short, too_many_parts

FEATURES = b"VP8X"
PIXELS = (
    b"VP8 ",
    b"VP8L",
    b"ANMF",
)  # lossy, lossless, or a frame of an animation: the first is read
WANTED = (FEATURES, b"ICCP", b"ANIM", b"ALPH", *PIXELS, b"EXIF")  # in the order of the format
XMP = 0x04  # a bit of the features: a part that is left out


def webp_size(data: bytes) -> Size:
    """Width and height of the canvas. Raises BadImage where the first chunk has none."""
    kind, content = data[12:16], data[20:30]
    size = _little(content, 4, 3) + 1, _little(content, 7, 3) + 1
    if len(content) < 10:
        raise broken("WebP", data)
    return size if kind == FEATURES else _picture_size(kind, content, data)


def webp_body(data: bytes) -> Body:
    """Features, colours, the first picture, what it is laid on, orientation. Raises BadImage."""
    chunks = dict[bytes, bytes]()
    for kind, chunk in _chunks(data):
        if kind in PIXELS and any(known in chunks for known in PIXELS):
            continue
        if kind in WANTED:
            chunks.setdefault(kind, chunk)
    picture = next((kind for kind in PIXELS if kind in chunks), None)
    if picture is None:
        raise cut_short("WebP", data)
    if FEATURES in chunks:
        features = bytearray(chunks[FEATURES])
        features[8] &= ~XMP
        chunks[FEATURES] = bytes(features)
    if picture != b"ANMF":
        _check_canvas(_picture_size(picture, chunks[picture][8:18], data), webp_size(data))
    body = b"".join(chunks[kind] for kind in WANTED if kind in chunks)
    return Body(b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and whole chunk, padded to an even length.

    None is given that is cut or lies past the RIFF's end.
    """
    at, end = 12, min(len(data), 8 + _little(data, 4, 4))
    for _ in range(MOST_PARTS):
        kind, size = data[at : at + 4], _little(data, at + 4, 4)
        if at + 8 + size > end:
            return
        yield kind, data[at : at + 8 + size] + b"\0" * (size % 2)
        at += 8 + size + size % 2
    raise too_many_parts("WebP", "chunks")


def _picture_size(kind: bytes, content: bytes, data: bytes) -> Size:
    """The size that the chunk states, which `content` begins.

    Of VP8: a frame tag (3 bytes), a start code and 14 bits a side, twice.
    """
    if kind == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        return _little(content, 6, 2) & 0x3FFF, _little(content, 8, 2) & 0x3FFF
    if kind == b"VP8L" and content[:1] == b"\x2f":
        bits = _little(content, 1, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise broken("WebP", data)


def _check_canvas(picture: Size, canvas: Size) -> None:
    if picture != canvas:
        raise BadImage(
            f"the WebP's picture is {picture[0]} x {picture[1]} pixels on a canvas of "
            f"{canvas[0]} x {canvas[1]}",
            limit=list(canvas),
            actual=list(picture),
        )


def _little(data: bytes, first: int, count: int) -> int:
    return int.from_bytes(data[first : first + count], "little")
