"""What reads a collection's photographs for Ray Data.

Nothing here imports torch: it runs in many processes.
"""

from functools import cache
from typing import Any

from app.batch.collection import PhotographReader, reason
from app.decoding.pool import Decoders
from weakpoints.options import Limits


@cache
def decoders(limits: Limits) -> Decoders:
    """This process's own child, which ends with it."""
    return Decoders(1, limits)


def read_pixels(
    item: dict[str, Any], reader: PhotographReader, limits: Limits, background: str
) -> dict[str, Any]:
    """A file name to what it was decoded to, or to the error that there was.

    The pixels are the bytes of (height, width, bands), as `decode` makes them.
    """
    try:
        data = reader.read(item["file_name"], limits.max_bytes)
        image = decoders(limits).decode(data, background=background)
    except Exception as error:  # of a file system or a file: whatever it is, its record
        return item | {"error": reason(error), "height": 0, "bands": 0, "pixels": b""}
    height, _, bands = image.shape
    return item | {"error": "", "height": height, "bands": bands, "pixels": image.tobytes()}
