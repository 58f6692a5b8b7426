"""TIFF (revision 6.0), the tags of its first picture, without decoding.

What Pillow would read wrongly without a word is refused here, in words.
"""

import struct
from collections.abc import Sequence

import numpy as np

from weakpoints.errors import BadImage

ORDERS = {b"II": "<", b"MM": ">"}
FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # of numbers, by a tag's type
MOST_VALUES = 64  # of a tag that is read; as many samples no picture has
SUBFILE, OLD_SUBFILE, BITS, PHOTOMETRIC, SAMPLES = 254, 255, 258, 262, 277
PALETTE, PLANAR, SUB_IFDS, SAMPLE_FORMAT, DNG_VERSION = 320, 284, 330, 339, 50706
WANTED = {SUBFILE, OLD_SUBFILE, BITS, PHOTOMETRIC, SAMPLES, PLANAR, SUB_IFDS, SAMPLE_FORMAT}
WANTED |= {DNG_VERSION}
READ_BITS = {1, 2, 4, 8, 16}
READ_PLANES = {2, 5, 6}  # photometric: RGB, CMYK, YCbCr
SENSOR = {32803, 34892}  # photometric: colour filter array, linear raw
KINDS = {2: "signed integers", 3: "floating-point numbers", 5: "complex integers"}
Tags = dict[int, tuple[int, ...]]


def is_camera_raw(data: bytes) -> bool:
    """Whether its first picture is the thumbnail of a camera's raw file, or sensor samples."""
    if data[8:10] == b"CR":  # Canon's second format says so behind the header
        return True
    tags, more = _tags(data)
    small = bool(_first(tags, SUBFILE, 0) & 1) or _first(tags, OLD_SUBFILE, 1) == 2
    raw = DNG_VERSION in tags or _first(tags, PHOTOMETRIC, 1) in SENSOR
    return raw or (small and (SUB_IFDS in tags or more))


def tiff_body(data: bytes) -> bytes:
    """The file for the decoder. Raises BadImage for samples that are not read.

    A single plane is told to be one: Pillow would forget that white is zero in it.
    """
    tags, _ = _tags(data)
    _check_samples(tags)
    order = ORDERS[data[:2]]
    if _first(tags, PHOTOMETRIC, 1) == 3:
        data = _deep_colours(data, order)
    if _first(tags, PLANAR, 1) != 2 or _first(tags, SAMPLES, 1) != 1:
        return data
    at = _entry(data, order, PLANAR)
    entry = struct.pack(f"{order}HHIHH", PLANAR, 3, 1, 1, 0)
    return data[:at] + entry + data[at + len(entry) :]


def _deep_colours(data: bytes, order: str) -> bytes:
    """With a palette of 16 bits, as the format has it; old writers put 8 bits there."""
    try:
        _, kind, length, at = struct.unpack_from(f"{order}HHII", data, _entry(data, order, PALETTE))
        colours = np.frombuffer(data, f"{order}u2", length, at)
    except (struct.error, ValueError):  # the decoder refuses the file
        return data
    if kind != 3 or colours.max(initial=0) > 255:
        return data
    return data[:at] + (colours * 257).astype(f"{order}u2").tobytes() + data[at + 2 * length :]


def _entry(data: bytes, order: str, wanted: int) -> int:
    """Where the first entry of a tag lies in the first directory. Raises struct.error."""
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from(f"{order}H", data, entry)[0] == wanted:
            return entry
    raise struct.error


def _check_samples(tags: Tags) -> None:
    bits = tags.get(BITS, (1,))
    wrong = next((count for count in bits if count not in READ_BITS), None)
    if wrong is not None:
        raise BadImage(
            f"the picture has samples of {wrong} bits; 8 and 16 are read", limit=16, actual=wrong
        )
    kinds = {KINDS[kind] for kind in tags.get(SAMPLE_FORMAT, ()) if kind in KINDS}
    if kinds:
        raise BadImage(
            f"the TIFF has samples that are {' and '.join(sorted(kinds))}; "
            "unsigned integers are read"
        )
    if BITS in tags and PHOTOMETRIC not in tags:  # Pillow would take white for zero
        raise BadImage("the TIFF does not say whether black is zero (PhotometricInterpretation)")
    samples = _first(tags, SAMPLES, 1)
    if _first(tags, PLANAR, 1) == 2 and samples > 1 and set(bits) != {8}:
        raise BadImage(
            f"the TIFF has samples of {max(bits)} bits in {samples} planes; other than with 8 bits "
            "they are read where the samples of a pixel lie together (PlanarConfiguration 1)"
        )
    photometric = _first(tags, PHOTOMETRIC, 1)
    if _first(tags, PLANAR, 1) == 2 and samples > 1 and photometric not in READ_PLANES:
        raise BadImage(
            f"the TIFF has {samples} planes of PhotometricInterpretation {photometric}; planes "
            f"are read of {', '.join(map(str, sorted(READ_PLANES)))} (RGB, CMYK, YCbCr), others "
            "where the samples of a pixel lie together (PlanarConfiguration 1)"
        )
    if 16 in bits and photometric == 0:
        raise BadImage(
            "the TIFF has grey of 16 bits where white is zero; with 16 bits it is read where "
            "black is zero (PhotometricInterpretation 1)"
        )


def _tags(data: bytes) -> tuple[Tags, bool]:
    """The numbers of the wanted tags of the first directory; whether there is another directory.

    What lies past the file's end is left out: the decoder refuses the file.
    """
    order = ORDERS.get(data[:2], "<")
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        tags = Tags()
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(f"{order}HHI", data, entry)
            if tag in WANTED and kind in FORMATS and length <= MOST_VALUES:
                tags.setdefault(tag, _values(data, order, kind, length, entry + 8))
        (more,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
    except struct.error:
        return {}, False
    return tags, more != 0


def _values(data: bytes, order: str, kind: int, length: int, at: int) -> tuple[int, ...]:
    """They lie in the entry's last four bytes, or where these say."""
    layout = f"{order}{length}{FORMATS[kind]}"
    if struct.calcsize(layout) > 4:
        (at,) = struct.unpack_from(f"{order}I", data, at)
    return struct.unpack_from(layout, data, at)


def _first(tags: Tags, tag: int, default: int) -> int:
    values: Sequence[int] = tags.get(tag, ())
    return values[0] if values else default
