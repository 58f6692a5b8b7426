"""What reads a collection's photographs for Ray Data. Nothing here imports torch: it runs in many processes."""

from typing import Any

from app.batch.collection import Reader, reason
from app.errors import WeakpointsError
from app.options import Limits


def pixels(item: dict[str, Any], reader: Reader, limits: Limits) -> dict[str, Any]:
    """A file name to what it was decoded to, (height, width, 3) bytes, or to the error that there was."""
    try:
        image = reader.image(item["file_name"], limits)
    except (WeakpointsError, OSError) as error:
        return item | {"error": reason(error), "height": 0, "pixels": b""}
    return item | {"error": "", "height": image.shape[0], "pixels": image.tobytes()}
