"""Pictures as people see them: see-through, deep, turned, of every format that is read."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from pillow_heif import register_heif_opener

from tests.images.test_png import chunk
from tests.service import encoded
from weakpoints.errors import BadImage, TooLarge
from weakpoints.images.decode import decode, split
from weakpoints.images.pixels import COMMON, SRGB, opened, shown
from weakpoints.images.png import SIGNATURE
from weakpoints.options import WHITE, Limits

SMOOTH = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
).resize((80, 60), Image.Resampling.BICUBIC)
PIXELS = np.asarray(SMOOTH)
HOLE = np.zeros((60, 80), bool)
HOLE[10:30, 20:50] = True
register_heif_opener()  # writes HEIC; what reads it here does not need that
ALPHA = Image.fromarray(np.where(HOLE, 0, 255).astype(np.uint8))
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8))
EXACT = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}, "BMP": {}}
LOSSY = {"AVIF": {"quality": 95}, "HEIF": {"quality": 95}, "GIF": {}}
SEE_THROUGH = ("PNG", "TIFF", "WEBP", "AVIF", "HEIF")


def cut_out(hidden: Image.Image) -> Image.Image:
    """The smooth picture; where the hole is, `hidden` lies under an alpha of 0."""
    image = Image.composite(hidden, SMOOTH, Image.fromarray(HOLE))
    image.putalpha(ALPHA)
    return image


@pytest.mark.parametrize("kind", [*EXACT, *LOSSY])
def test_every_format_gives_its_pixels(kind: str) -> None:
    image = decode(encoded(SMOOTH, kind, **(EXACT | LOSSY)[kind]), Limits())
    assert (image.shape, image.dtype) == ((60, 80, 3), np.uint8)
    assert np.abs(image.astype(int) - PIXELS).mean() <= (0 if kind in EXACT else 9)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_opencv_and_pillow_make_the_same_pixels(kind: str, mode: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 5
    data = encoded(SMOOTH.convert(mode), kind, exif=turned)
    media_type = f"image/{kind.lower()}"
    assert media_type in COMMON
    by_pillow = shown(opened(data, media_type), data, WHITE)
    np.testing.assert_array_equal(decode(data, Limits()), by_pillow)


@pytest.mark.parametrize("kind", SEE_THROUGH)
def test_hidden_colours_change_nothing_and_it_is_told_where_they_are(kind: str) -> None:
    options = (EXACT | LOSSY)[kind]
    one, two = (
        decode(encoded(cut_out(each), kind, **options), Limits()) for each in (NOISE, SMOOTH)
    )
    image, seen = split(one)
    assert seen is not None
    assert (one[..., 3] == two[..., 3]).all()
    assert (image[HOLE] == 255).mean() > 0.99, "white, but for a lossy codec's edges"
    assert (seen == ~HOLE).mean() > 0.99
    if kind in EXACT:
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(image[~HOLE], PIXELS[~HOLE])


def test_what_can_be_seen_through_lies_over_the_background_that_is_asked_for() -> None:
    data = encoded(Image.new("RGBA", (20, 20), (200, 100, 0, 51)))  # a fifth
    for background, expected in ((WHITE, (244, 224, 204)), ("000000", (40, 20, 0))):
        image = decode(data, Limits(), background)
        assert image.shape == (20, 20, 3), "a fifth can be seen"
        assert np.abs(image[3, 3].astype(int) - expected).max() <= 1


def test_what_is_as_good_as_invisible_is_not_seen_either() -> None:
    faint = Image.new("RGBA", (20, 20), (0, 0, 0, 255))
    for x, alpha in enumerate((0, 1, 12, 13, 255)):
        faint.putpixel((x, 0), (0, 0, 0, alpha))
    _, seen = split(decode(encoded(faint), Limits()))
    assert seen is not None
    assert seen[0, :5].tolist() == [False, False, False, True, True]


def palette() -> Image.Image:
    image = SMOOTH.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    return image


def sixteen(transparent: bool) -> tuple[Image.Image, dict[str, int], np.ndarray]:
    values = np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13
    options = {"transparency": int(values[7, 9])} if transparent else {}
    return Image.fromarray(values), options, values >> 8


def test_a_palette_s_transparent_colours_are_not_seen() -> None:
    image = palette()
    indices = np.asarray(image)
    table = np.array(image.getpalette()).reshape(-1, 3)[indices]
    for transparency, hidden in ((3, indices == 3), (bytes([255, 0, 128]), indices == 1)):
        rgb, seen = split(decode(encoded(image, transparency=transparency), Limits()))
        assert seen is not None
        np.testing.assert_array_equal(seen, ~hidden)
        assert (rgb[hidden] == 255).all()
        np.testing.assert_array_equal(rgb[indices == 5], table[indices == 5])


def test_grey_with_alpha_and_one_transparent_grey_or_colour_are_not_seen() -> None:
    grey = SMOOTH.convert("L")
    both = grey.copy()
    both.putalpha(ALPHA)
    rgb, seen = split(decode(encoded(both), Limits()))
    assert seen is not None
    np.testing.assert_array_equal(seen, ~HOLE)
    np.testing.assert_array_equal(rgb[seen][:, 1], np.asarray(grey)[seen])
    one, colour = int(np.asarray(grey)[4, 4]), tuple(int(v) for v in PIXELS[4, 4])
    for image, key, hidden in (
        (grey, one, np.asarray(grey) == one),
        (SMOOTH, colour, np.equal(colour, PIXELS).all(-1)),
    ):
        _, seen = split(decode(encoded(image, transparency=key), Limits()))
        assert seen is not None
        np.testing.assert_array_equal(seen, ~hidden)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_read_by_their_high_byte(kind: str) -> None:
    image, _, expected = sixteen(False)
    np.testing.assert_array_equal(decode(encoded(image, kind), Limits())[..., 2], expected)
    image, options, _ = sixteen(True)
    rgb, seen = split(decode(encoded(image, "PNG", **options), Limits()))
    assert seen is not None
    assert np.argwhere(~seen).tolist() == [[7, 9]]
    assert rgb[7, 9].tolist() == [255, 255, 255]


def test_one_transparent_colour_of_sixteen_bits_is_compared_in_all_of_them() -> None:
    key = (0x1234, 0x5678, 0x9ABC)
    values = np.random.default_rng(3).integers(0, 2**16, (60, 80, 3)).astype(">u2")
    values[4, 5] = key
    values[6, 7] = (0x1234, 0x5678, 0x9ABD)  # the same high bytes
    values[8, 9] = (0x3400, 0x7800, 0xBC00)  # the high bytes are the low ones of the key
    rgb, seen = split(decode(deep_png(values, key), Limits()))
    assert seen is not None
    assert np.argwhere(~seen).tolist() == [[4, 5]]
    np.testing.assert_array_equal(rgb[seen], (values >> 8)[seen])
    values[4, 5] = 0
    np.testing.assert_array_equal(decode(deep_png(values, key), Limits()), values >> 8)


def deep_png(values: np.ndarray, key: tuple[int, int, int]) -> bytes:
    """(H, W, 3) of 16 bits, which Pillow does not write."""
    height, width, _ = values.shape
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"tRNS", struct.pack(">HHH", *key)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))),
        (b"IEND", b""),
    )
    return SIGNATURE + b"".join(chunk(kind, body) for kind, body in parts)


def test_samples_of_32_bits_are_refused_and_said() -> None:
    for values in (np.zeros((20, 20), np.float32), np.zeros((20, 20), np.int32)):
        with pytest.raises(BadImage, match="32 bits; 8 and 16"):
            decode(encoded(Image.fromarray(values), "TIFF"), Limits())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_a_turned_picture_stands_upright_and_so_does_what_is_seen_of_it(kind: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    data = encoded(cut_out(SMOOTH), kind, exif=turned.tobytes(), **(EXACT | LOSSY)[kind])
    image, seen = split(decode(data, Limits()))
    assert seen is not None
    assert image.shape == (80, 60, 3)
    assert (seen == np.rot90(~HOLE, -1)).mean() > 0.99
    assert np.abs(image.astype(int) - np.rot90(PIXELS, -1))[seen].mean() < 8


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP", "AVIF"])
def test_of_several_pictures_in_a_file_the_first_is_read(kind: str) -> None:
    others = [Image.new("RGB", SMOOTH.size, colour) for colour in ("black", "white")]
    first = SMOOTH.quantize(16).convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else LOSSY.get(kind, {})
    image = decode(encoded(first, kind, save_all=True, append_images=others, **options), Limits())
    assert np.abs(image.astype(int) - np.asarray(first)).mean() < 8


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF", "HEIF"])
def test_the_claimed_size_is_looked_at_before_a_pixel_is_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(SMOOTH, kind)
    monkeypatch.setattr(
        "weakpoints.images.decode.decoded", lambda *_: pytest.fail("it was decoded")
    )
    with pytest.raises(TooLarge) as raised:
        decode(data, Limits(max_pixels=4799))
    assert raised.value.figures == {"limit": 4799, "actual": 4800}


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF", "HEIF"])
def test_a_file_that_is_cut_short_is_refused(kind: str) -> None:
    data = encoded(NOISE, kind)
    for end in (len(data) // 3, len(data) - 99):
        with pytest.raises(BadImage, match="can't be decoded"):
            decode(data[:end], Limits())


def tagged(kind: bytes, body: bytes) -> bytes:
    return kind + bytes(4) + body


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def adobe_rgb() -> bytes:
    """An ICC profile (ICC.1:2010) with the primaries and the gamma of Adobe RGB (1998)."""
    primaries = {
        b"r": (0.60974, 0.31111, 0.01947),
        b"g": (0.20528, 0.62567, 0.06087),
        b"b": (0.14919, 0.06322, 0.74457),
    }
    white = (0.9642, 1, 0.8249)
    parts = {
        b"desc": tagged(b"desc", struct.pack(">I", 5) + b"wide\0" + bytes(78)),
        b"cprt": tagged(b"text", b"none\0"),
        b"wtpt": tagged(b"XYZ ", fixed(*white)),
    }
    for name, colour in primaries.items():
        parts[name + b"XYZ"] = tagged(b"XYZ ", fixed(*colour))
        parts[name + b"TRC"] = tagged(b"curv", struct.pack(">IH", 1, round(2.19921875 * 256)))
    table, data, start = b"", b"", 128 + 4 + 12 * len(parts)
    for name, part in parts.items():
        table += name + struct.pack(">II", start + len(data), len(part))
        data += part + bytes(-len(part) % 4)
    body = struct.pack(">I", len(parts)) + table + data
    size, version = struct.pack(">I", 128 + len(body)), struct.pack(">I", 0x02400000)
    head = size + bytes(4) + version + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return (head + fixed(*white)).ljust(128, b"\0") + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("transparent", [False, True])
def test_colours_of_another_profile_become_srgb(kind: str, transparent: bool) -> None:
    if transparent and kind not in SEE_THROUGH:
        return
    wide = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb()))
    muted = Image.blend(SMOOTH, Image.new("RGB", SMOOTH.size, (128, 128, 128)), 0.5)
    stored = ImageCms.profileToProfile(muted, SRGB, wide)
    assert np.abs(np.asarray(stored).astype(int) - np.asarray(muted)).mean() > 4
    if transparent:
        stored.putalpha(ALPHA)
    options = {"JPEG": {"quality": 98}, **EXACT, **LOSSY}[kind]
    image, seen = split(decode(encoded(stored, kind, icc_profile=adobe_rgb(), **options), Limits()))
    assert (seen is not None) == transparent
    error = np.abs(image.astype(int) - np.asarray(muted))
    assert error[seen if transparent else slice(None)].mean() < (1.5 if kind in EXACT else 3)


def test_a_profile_that_is_none_or_of_other_pixels_changes_nothing() -> None:
    grey = SMOOTH.convert("L")
    for profile in (b"no profile", adobe_rgb()):
        image = decode(encoded(grey, icc_profile=profile), Limits())
        np.testing.assert_array_equal(image[..., 0], np.asarray(grey))


def test_exif_data_that_is_broken_turns_nothing() -> None:
    data = encoded(SMOOTH, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(40)))
    np.testing.assert_array_equal(decode(data, Limits()), PIXELS)


def icc(name: str, linear: bool) -> bytes:
    """A profile of sRGB's primaries, with its curve or with none, that calls itself `name`."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = struct.pack(">I", 0) if linear else struct.pack(">IH", 1, 563)
    text = struct.pack(">I", len(name) + 1) + name.encode() + b"\0" + bytes(78)
    tags = {
        b"desc": b"desc\0\0\0\0" + text,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"curv\0\0\0\0" + curve),
    }
    table, body = b"", b""
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", 132 + len(table) + len(body), bytes(4), 0x02400000)
    head += b"mntrRGB XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += xyz(0.9642, 1, 0.8249)[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_profile_s_numbers_decide_and_not_its_name(kind: str) -> None:
    def read(profile: bytes) -> np.ndarray:
        return decode(encoded(SMOOTH, kind, icc_profile=profile, **EXACT[kind]), Limits())

    linear = read(icc("Linear light", linear=True))
    assert np.abs(linear.astype(int) - PIXELS).mean() > 10
    for name in ("GIMP built-in Linear sRGB", "sRGB-elle-V2-g10.icc", "Not sRGB"):
        np.testing.assert_array_equal(read(icc(name, linear=True)), linear)
    srgb = ImageCms.ImageCmsProfile(SRGB).tobytes()
    np.testing.assert_array_equal(read(srgb), PIXELS)
    np.testing.assert_array_equal(read(srgb.replace(b"s\0R\0G\0B", b"a\0b\0c\0d")), PIXELS)


@pytest.mark.parametrize(
    "content",
    [
        b"p\0\0" + zlib.compress(np.random.default_rng(0).bytes(1_100_000)),  # too large
        b"p\0\0" + zlib.compress(bytes(40_000_000)),  # a bomb
        b"p\0\1" + zlib.compress(b"profile"),  # another method
        b"p\0\0" + b"this is not deflated",
        b"\0\0" + zlib.compress(b"profile"),  # without a name
        b"p",
        b"",
    ],
)
def test_a_png_whose_profile_can_t_be_used_is_read_without_it(content: bytes) -> None:
    plain = encoded(SMOOTH)
    data = plain[:33] + chunk(b"iCCP", content) + plain[33:]
    np.testing.assert_array_equal(decode(data, Limits()), PIXELS)
