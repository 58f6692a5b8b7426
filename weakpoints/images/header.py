"""What an image file says of itself, and the bytes of it that are decoded.

It is read without decoding.
"""

from importlib.util import find_spec

from weakpoints.errors import UnsupportedMedia
from weakpoints.images.jpeg import jpeg_body, jpeg_size
from weakpoints.images.parts import Body, Size
from weakpoints.images.png import SIGNATURE, png_body, png_size
from weakpoints.images.tiff import is_camera_raw, tiff_body
from weakpoints.images.webp import webp_body, webp_size

SIZES = {"image/jpeg": jpeg_size, "image/png": png_size, "image/webp": webp_size}
MAGIC = {
    b"\xff\xd8": "image/jpeg",
    SIGNATURE: "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}
TIFF = {magic for magic, kind in MAGIC.items() if kind == "image/tiff"}
BRANDS = {  # of ISO's media files (ISO/IEC 14496-12), whose first box names them
    "image/avif": {b"avif", b"avis"},
    "image/heic": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
}
BITMAPS = {12, 40, 52, 56, 64, 108, 124}  # bytes of the second header of a BMP
READ = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WebP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/heic": "HEIC",
}
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".webp", ".gif", ".bmp", ".dib"}
SUFFIXES |= {".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"}
EXTRA = {"image/heic": ("heic", "pillow_heif")}  # what reads it, and the extra that brings that
RAW = "a camera's raw file"
OTHERS = {
    b"%PDF": "PDF",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
    b"<svg": "SVG",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\0\0\0\x0cJXL": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"\0\0\1\0": "ICO",
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\0": RAW,
    b"FUJIFILM": RAW,
    b"FOVb": RAW,
    b"\0MRM": RAW,
    b"II\x1a\0\0\0HEAPCCDR": RAW,
}


def media_type_of(data: bytes) -> str:
    """By the magic bytes.

    Raises UnsupportedMedia, which names what is read, and the extra for what is not installed.
    """
    kind = _kind(data)
    if kind in EXTRA and not find_spec(EXTRA[kind][1]):
        extra = EXTRA[kind][0]
        raise UnsupportedMedia(
            f"{READ[kind]} is read where the extra `{extra}` is installed "
            f"(pip install '.[{extra}]'), and it is not installed here; "
            f"{_list(readable())} are read",
            supported=readable(),
            extra=extra,
        )
    if kind is None:
        looks = f"; this looks like {name}" if (name := _named(data)) else ""
        raise UnsupportedMedia(f"only {_list(readable())} are read{looks}", supported=readable())
    return kind


def readable() -> list[str]:
    """The media types that are read here, with the extras that are installed."""
    return [kind for kind in READ if kind not in EXTRA or find_spec(EXTRA[kind][1])]


def stated_size(data: bytes, media_type: str) -> Size | None:
    """Width and height in pixels as stored, before any EXIF orientation.

    None for the formats that Pillow alone reads: it says their size in the process that decodes.
    Raises BadImage where no size can be read.
    """
    return SIZES[media_type](data) if media_type in SIZES else None


def read_body(data: bytes, media_type: str, most_scanned: int) -> Body:
    """The bytes that go on to the decoder, all of them walked here where we know the format.

    `most_scanned` is the limit of a JPEG's scans times pixels. Raises BadImage.
    """
    match media_type:
        case "image/jpeg":
            return jpeg_body(data, most_scanned)
        case "image/png":
            return png_body(data)
        case "image/webp":
            return webp_body(data)
        case "image/tiff":
            return Body(tiff_body(data))
    return Body(data)


def _kind(data: bytes) -> str | None:
    known = next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)
    if known == "image/tiff" and is_camera_raw(data):
        return None
    if known:
        return known
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in BITMAPS:
        return "image/bmp"
    if data[4:8] == b"ftyp":
        box = data[8 : min(int.from_bytes(data[:4]), 1024)]
        named = {box[at : at + 4] for at in range(0, len(box), 4) if at != 4}  # 4: a version
        return next((kind for kind, brands in BRANDS.items() if named & brands), None)
    return None


def _named(data: bytes) -> str | None:
    """What a file is that is not read."""
    if data[4:12] == b"ftypcrx " or (data[:4] in TIFF and is_camera_raw(data)):
        return RAW
    return next((name for magic, name in OTHERS.items() if data.startswith(magic)), None)


def _list(media_types: list[str]) -> str:
    """For people: `JPEG, PNG and WebP`."""
    *names, last = (READ[media_type] for media_type in media_types)
    return f"{', '.join(names)} and {last}"
