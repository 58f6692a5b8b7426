"""What an image file says of itself, and the bytes of it that are decoded.

It is read without decoding.
"""

from dataclasses import dataclass

from app.errors import UnsupportedMedia
from app.method.jpeg import jpeg_body, jpeg_size
from app.method.parts import Body
from app.method.png import SIGNATURE, png_body, png_size
from app.method.webp import webp_body, webp_size

OTHERS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"\0\0\0\x0cjP": "JPEG 2000",
}


@dataclass(frozen=True)
class Header:
    """width and height in pixels as stored, before any EXIF orientation."""

    media_type: str
    width: int
    height: int


def read_header(data: bytes) -> Header:
    """The size that the decoder will read, too.

    Raises UnsupportedMedia by the magic bytes, BadImage where no size can be read.
    """
    if data.startswith(b"\xff\xd8"):
        return Header("image/jpeg", *jpeg_size(data))
    if data.startswith(SIGNATURE):
        return Header("image/png", *png_size(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Header("image/webp", *webp_size(data))
    looks = next(
        (f", this looks like {name}" for m, name in OTHERS.items() if data.startswith(m)), ""
    )
    raise UnsupportedMedia(
        f"only JPEG, PNG and WebP are read{looks}",
        supported=["image/jpeg", "image/png", "image/webp"],
    )


def read_body(data: bytes, header: Header, most_scanned: int) -> Body:
    """The bytes that go on to the decoder, all of them walked here.

    `most_scanned` is the limit of a JPEG's scans times pixels. Raises BadImage.
    """
    if header.media_type == "image/jpeg":
        return jpeg_body(data, most_scanned)
    return png_body(data) if header.media_type == "image/png" else webp_body(data)
