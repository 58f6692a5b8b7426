"""From the bytes of one format to what people see of the picture.

Upright, in 8 bits and sRGB, its first frame, and what can be seen through laid over a background.
Pillow reads every format. OpenCV makes the same pixels of opaque sRGB pictures of the common ones,
in half the time or less.
"""

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from weakpoints.errors import BadImage
from weakpoints.images.colours import profile_of_codes

SRGB = ImageCms.createProfile("sRGB")
# (16, 256): every 17th level of red, green and blue, in all combinations.
COLOURS = Image.fromarray(
    np.stack(np.meshgrid(*[np.arange(0, 256, 17, dtype=np.uint8)] * 3), -1).reshape(16, 256, 3)
)
FAINT = 13  # of 255: what is less opaque than a twentieth is not seen
Transpose = Image.Transpose
UPRIGHT = {  # by EXIF orientation
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
TURNED = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
FLIPPED = {2: 1, 4: 0}  # along x, along y
FARTHEST = 2**16  # bytes of an AVIF or HEIC in which its boxes are looked for
SAME = 2  # of 255: a profile whose colours are at most this far from sRGB's is sRGB's


def _heic(file: BytesIO) -> ImageFile:
    from pillow_heif import HeifImageFile  # an extra

    picture: ImageFile = HeifImageFile(file)  # type: ignore[no-untyped-call]
    return picture


COMMON = {"image/jpeg", "image/png", "image/webp"}
# One class a format: `Image.open` would try others, and of a JPEG look for a second picture.
OPENS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "image/jpeg": JpegImageFile,
    "image/png": PngImageFile,
    "image/webp": WebPImageFile,
    "image/gif": GifImageFile,
    "image/bmp": BmpImageFile,
    "image/tiff": TiffImageFile,
    "image/avif": AvifImageFile,
    "image/heic": _heic,
}


def opened(data: bytes, media_type: str) -> ImageFile:
    """The picture with its size, as stored; no pixel is decoded.

    Raises whatever Pillow does where the file is broken.
    """
    image = OPENS[media_type](BytesIO(data))
    at = data.find(b"colrnclx", 0, FARTHEST)
    if media_type in ("image/avif", "image/heic") and at > 0 and not image.info.get("icc_profile"):
        codes = [int.from_bytes(data[i : i + 2]) for i in (at + 8, at + 10)]
        image.info["icc_profile"] = profile_of_codes(*codes)
    return image


def decoded(image: ImageFile, data: bytes, media_type: str, background: str) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, or (H, W, 4) where something can't be seen: A is 0 there, else 255.

    RGB is laid over the background, `rrggbb`, in either case. image: the same file from `opened`.
    Raises BadImage for samples of 32 bits, and whatever the decoder does where the file is broken.
    """
    if media_type in COMMON and not image.has_transparency_data and _profile(image) is None:
        # OpenCV reads an orientation of one type alone, so it is left to us.
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if pixels is None:
            raise ValueError("OpenCV can't read it")
        return _upright(np.asarray(pixels, np.uint8), _orientation(image))
    return shown(image, data, background)


def shown(image: ImageFile, data: bytes, background: str) -> NDArray[np.uint8]:
    """As `decoded`, by Pillow alone."""
    image.load()
    transpose = UPRIGHT.get(_orientation(image))  # a PNG may have it behind its pixels
    upright = _over(_srgb(_eight_bits(image, data)), background)
    return np.asarray(upright.transpose(transpose) if transpose is not None else upright)


def of_pillow(image: Image.Image, background: str) -> NDArray[np.uint8]:
    """As `decoded`, of a picture that Pillow has opened: turned upright by its own EXIF data.

    Raises BadImage for samples of more than 8 bits, and OSError where its file is broken.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        raise BadImage(f"the picture's mode is {image.mode}; samples of 8 bits are taken")
    image.load()
    if image.mode == "La":  # Pillow turns it into nothing but this
        image = image.convert("LA")
    upright = ImageOps.exif_transpose(image)
    return np.asarray(_over(_srgb(upright), background))


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """As Pillow's transpose of UPRIGHT does, in less time and memory."""
    if orientation in FLIPPED:
        return np.asarray(cv2.flip(pixels, FLIPPED[orientation]), np.uint8)
    if orientation in (5, 7):
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
        orientation = {5: 1, 7: 3}[orientation]
    turn = TURNED.get(orientation)
    return pixels if turn is None else np.asarray(cv2.rotate(pixels, turn), np.uint8)


def _orientation(image: ImageFile) -> int:
    """1 to 8, of whatever type of number; 1, upright, where the EXIF data is broken."""
    try:
        if isinstance(image, TiffImageFile):
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
        else:
            exif = Image.Exif()  # Pillow's `getexif` would take one of XMP, too
            exif.load(image.info.get("exif", b""))
            value = exif.get(ExifTags.Base.Orientation, 1)
        if isinstance(value, tuple | bytes):
            value = value[0]
        return int(value)
    except Exception:  # a tag may have any type, at any place
        return 1


def _eight_bits(image: ImageFile, data: bytes) -> Image.Image:
    """The high byte of 16 bits; Pillow has done so already where there are colours."""
    if image.mode in ("I", "F"):
        raise BadImage("the picture has samples of 32 bits; 8 and 16 are read", limit=16, actual=32)
    if isinstance(image, PngImageFile) and image.mode == "RGB" and data[24] == 16:  # bits a sample
        return _keyed(image, data) if "transparency" in image.info else image
    if not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if "transparency" in image.info:  # one grey that is not seen
        seen = values != image.info["transparency"]
        grey.putalpha(Image.fromarray(np.where(seen, 255, 0).astype(np.uint8)))
    return grey


def _keyed(image: ImageFile, data: bytes) -> Image.Image:
    """RGBA of a PNG with one colour of 16 bits that is not seen.

    OpenCV compares all of them. Pillow would compare the high bytes with the low ones.
    """
    deep = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    deep >>= 8  # in place: a child has no memory for another
    pixels = Image.fromarray(cv2.cvtColor(deep.astype(np.uint8), cv2.COLOR_BGRA2RGBA))
    pixels.info["icc_profile"] = image.info.get("icc_profile")
    return pixels


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The colour profile of the file; None for none, and for sRGB's by its numbers."""
    data = image.info.get("icc_profile")
    if not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(data))
    except (OSError, ImageCms.PyCMSError):  # not a profile
        return None
    try:
        seen = ImageCms.profileToProfile(COLOURS, profile, SRGB)
    except ImageCms.PyCMSError:  # not of RGB
        return profile
    difference = np.asarray(seen).astype(int) - np.asarray(COLOURS)
    return profile if np.abs(difference).max() > SAME else None


def _srgb(image: Image.Image) -> Image.Image:
    """As it is where its profile is sRGB's, or not of its kind of pixels."""
    profile = _profile(image)
    if profile is None:
        return image
    kind = "RGBA" if image.has_transparency_data else "RGB"
    fits = image.mode == kind or (image.mode in ("L", "CMYK") and kind == "RGB")
    pixels = image if fits else image.convert(kind)
    try:
        turned = ImageCms.profileToProfile(
            pixels,
            profile,
            SRGB,
            outputMode=kind,
            inPlace=pixels.mode == kind,
            flags=ImageCms.Flags.NOCACHE,  # it remembers one colour: photographs have others
        )
    except ImageCms.PyCMSError:
        return image
    return turned or pixels  # None: in place


def _over(image: Image.Image, background: str) -> Image.Image:
    """RGB over the background; RGBA where something can't be seen, with A as in `shown`."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image if image.mode == "RGBA" else image.convert("RGBA")  # which copies
    alpha = image.getchannel("A")
    result = Image.new("RGBA", image.size, f"#{background}")
    result.alpha_composite(image)
    if np.asarray(alpha).min() >= FAINT:
        return result.convert("RGB")
    result.putalpha(alpha.point([255 * (a >= FAINT) for a in range(256)]))
    return result
