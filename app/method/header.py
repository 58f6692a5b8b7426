"""What an image file says of itself, read without decoding: type, size, and whether it is all there."""

import re
from dataclasses import dataclass

from app.errors import BadImage, UnsupportedMedia

PNG = b"\x89PNG\r\n\x1a\n"
OTHERS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"\0\0\0\x0cjP": "JPEG 2000",
}
SIZES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers
ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
NEXT_MARKER = re.compile(
    rb"\xff[^\x00\xd0-\xd7\xff]"
)  # in entropy-coded data FF00 is a byte and FFD0 to FFD7 are restarts


@dataclass(frozen=True)
class Header:
    """width and height in pixels as stored, before any EXIF orientation; complete: whether the file reaches its end."""

    media_type: str
    width: int
    height: int
    complete: bool


def read_header(data: bytes) -> Header:
    """Raises UnsupportedMedia by the magic bytes, BadImage where not even the size can be read."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(PNG):
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    looks = next(
        (f", this looks like {name}" for magic, name in OTHERS.items() if data.startswith(magic)),
        "",
    )
    raise UnsupportedMedia(
        f"only JPEG, PNG and WebP are read{looks}",
        supported=["image/jpeg", "image/png", "image/webp"],
    )


def _jpeg(data: bytes) -> Header:
    """Walk the segments to the end-of-image marker: a decoder would fill what is missing with grey. Thumbnails lie inside segments."""
    size, complete, at = None, False, 2
    while (start := data.find(b"\xff", at)) >= 0 and start + 1 < len(data):
        marker, at = data[start + 1], start + 2
        if marker == 0xFF:
            at = start + 1
        elif marker == 0xD9:
            complete = True
            break
        elif marker not in ALONE:
            length = int.from_bytes(data[at : at + 2])
            if length < 2 or at + length > len(data):
                break
            if marker in SIZES and length >= 7:
                size = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 3 : at + 5])
            at += length
            if marker == 0xDA:
                scan_end = NEXT_MARKER.search(data, at)
                if scan_end is None:
                    break
                at = scan_end.start()
    if size is None:
        raise _broken("JPEG", data)
    return Header("image/jpeg", *size, complete)


def _png(data: bytes) -> Header:
    """Walk the chunks, by their lengths, to the last one."""
    if data[12:16] != b"IHDR" or len(data) < 24:
        raise _broken("PNG", data)
    at, complete = len(PNG), False
    while at + 12 <= len(data) and not complete:
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4])
        complete = kind == b"IEND" and at <= len(data)
    return Header("image/png", int.from_bytes(data[16:20]), int.from_bytes(data[20:24]), complete)


def _webp(data: bytes) -> Header:
    def little(first: int, count: int) -> int:
        return int.from_bytes(data[first : first + count], "little")

    complete = 8 + little(4, 4) <= len(data)
    if len(data) >= 30:
        match data[12:16]:
            case b"VP8X":
                return Header("image/webp", little(24, 3) + 1, little(27, 3) + 1, complete)
            case b"VP8L" if data[20] == 0x2F:
                bits = little(21, 4)
                return Header(
                    "image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, complete
                )
            case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
                return Header(
                    "image/webp", little(26, 2) & 0x3FFF, little(28, 2) & 0x3FFF, complete
                )
    raise _broken("WebP", data)


def _broken(kind: str, data: bytes) -> BadImage:
    return BadImage(
        f"the {kind} file of {len(data)} bytes is broken or cut short: no size can be read from it",
        actual=len(data),
    )
