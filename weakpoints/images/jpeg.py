"""JPEG (ITU-T T.81, annex B), walked from marker to marker as libjpeg does, without decoding."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from weakpoints.errors import BadImage
from weakpoints.images.parts import MOST_PARTS, Body, broken, cut_short, too_many_parts

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers
ALONE = {0x00, 0x01, *range(0xD0, 0xD8)}  # a stuffed FF is nothing; TEM, restarts: no length
TABLES = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}  # Huffman tables to comments
FILL = re.compile(rb"\xff+")  # any number of FF may stand before a marker
# In entropy-coded data, FF00 is a byte of data and FFD0 to FFD7 are restarts.
SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
RESTARTS = [bytes([0xFF, marker]) for marker in range(0xD0, 0xD8)]
NOISE = (bytes.fromhex("5a3c9671e40b2dd8"), bytes.fromhex("a7c14e83196af052"))  # no FF in it
ALL_COEFFICIENTS = 2**64 - 1


@dataclass(frozen=True)
class MarkerSegment:
    """start: where its content begins, behind marker and length; end: where that ends."""

    marker: int
    start: int
    end: int


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height as the first frame header has them. Raises BadImage where there is none."""
    for segment in _segments(data):
        if segment.marker in FRAMES:
            return _frame_size(data, segment)
    raise broken("JPEG", data)


def jpeg_body(data: bytes, most_scanned: int) -> Body:
    """The file up to its end-of-image marker. Thumbnails lie inside segments.

    `most_scanned` is the limit of scans times pixels: each scan is a pass over the whole picture.
    Raises BadImage for a second frame header, more scans than that, or a picture that is cut short.
    """
    frames, scans, pixels, coefficients = 0, 0, 0, dict[int, int]()
    for segment in _segments(data):
        if segment.marker == EOI:
            return Body(data[: segment.end])
        if segment.marker in FRAMES:
            frames += 1
            if frames > 1:
                raise BadImage("the JPEG has a second frame header; one is read", limit=1, actual=2)
            width, height = _frame_size(data, segment)
            pixels, coefficients = width * height, _components(data, segment)
        if segment.marker == SOS:
            scans += 1
            _note_scan(data, segment, coefficients)
            if scans * pixels > most_scanned:
                raise BadImage(
                    f"the JPEG has {scans} scans or more of {pixels} pixels, {scans * pixels} "
                    f"together; at most {most_scanned} are decoded",
                    limit=most_scanned,
                    actual=scans * pixels,
                )
    if not coefficients or any(known != ALL_COEFFICIENTS for known in coefficients.values()):
        raise cut_short("JPEG", data)
    return _without_end(data)


def _segments(data: bytes) -> Iterator[MarkerSegment]:
    """Every segment, to the end-of-image marker or to where the file is cut. Raises BadImage."""
    at = 2
    for _ in range(MOST_PARTS):
        fill = FILL.match(data, max(data.find(b"\xff", at), at))
        if fill is None or fill.end() == len(data):
            return
        marker, at = data[fill.end()], fill.end() + 1
        if marker in ALONE:
            continue
        if marker == EOI:
            yield MarkerSegment(marker, at, at)
            return
        if marker not in TABLES | FRAMES | {SOS}:
            raise broken("JPEG", data, f"marker FF{marker:02X} has no place in it")
        length = int.from_bytes(data[at : at + 2])
        if at + max(length, 2) > len(data):
            return
        if length < 2:
            raise broken("JPEG", data, f"a segment says that it has {length} bytes")
        yield MarkerSegment(marker, at + 2, at + length)
        at += length
        if marker == SOS:
            end = SCAN_END.search(data, at)
            if end is None:
                return
            at = end.start()
    raise too_many_parts("JPEG", "segments")


def _frame_size(data: bytes, frame: MarkerSegment) -> tuple[int, int]:
    """A frame header is precision (1), height (2), width (2), components (1) and 3 for each."""
    at = frame.start
    if frame.end - at < 6 or frame.end - at < 6 + 3 * data[at + 5]:
        raise broken("JPEG", data)
    return int.from_bytes(data[at + 3 : at + 5]), int.from_bytes(data[at + 1 : at + 3])


def _components(data: bytes, frame: MarkerSegment) -> dict[int, int]:
    """By component, the coefficients that are known to the last bit: none yet, of 64 bits."""
    at = frame.start + 6
    return {data[at + 3 * i]: 0 for i in range(data[at - 1])}


def _note_scan(data: bytes, scan: MarkerSegment, coefficients: dict[int, int]) -> None:
    """A scan header is a count (1), 2 for each component, first and last coefficient, and bits."""
    count = data[scan.start] if scan.end > scan.start else 0
    spectrum = scan.start + 1 + 2 * count
    if scan.end < spectrum + 3:
        raise broken("JPEG", data, "a scan header is too short")
    first, last, bits = data[spectrum : spectrum + 3]
    if bits & 15:
        return  # its last bits come in a later scan
    for component in data[scan.start + 1 : spectrum : 2]:
        known = coefficients.get(component, 0)
        coefficients[component] = known | ((2 << min(last, 63)) - 1) & ~((1 << first) - 1)


def _without_end(data: bytes) -> Body:
    """Where pixels are missing, libjpeg takes what follows for them; a restart may lie between."""
    data = data.rstrip(b"\xff")
    end = bytes([0xFF, EOI])
    others = (data + noise.join((b"", *RESTARTS, *RESTARTS, end)) for noise in NOISE)
    return Body(data + end, False, tuple(others))
