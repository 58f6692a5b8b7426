"""What the schema says beside what FastAPI finds: bodies that are photographs, and streams."""

from typing import Any

from app.method.header import READ
from app.options import Format
from app.service.upload import FIELD

JSON, LINES, EVENTS = "application/json", "application/x-ndjson", "text/event-stream"
PNG, NPZ = "image/png", "application/x-npz"
FORMATS: dict[str, Format] = {PNG: "png", NPZ: "npz"}
FILE = {"type": "string", "format": "binary"}
FILES = {
    "type": "array",
    "items": FILE,
    "minItems": 1,
    "description": "one photograph in each part of this name, up to WEAKPOINTS_MAX_IMAGES",
}


def photographs(image: dict[str, Any]) -> dict[str, Any]:
    """A body; `image` is the schema of the form's field: FILE or FILES."""
    form = {"type": "object", "required": [FIELD], "properties": {FIELD: image}}
    raw = {media_type: {"schema": FILE} for media_type in (*READ, "application/octet-stream")}
    content = {"multipart/form-data": {"schema": form}, **raw}
    return {"requestBody": {"required": True, "content": content}}


def streams() -> dict[str, Any]:
    """The answers of /detect that come bit by bit."""
    return {
        LINES: _text("for each photograph, as it comes, a line: one of `results` as JSON"),
        EVENTS: _text("of one photograph: `progress` events, then `result` or `error`"),
    }


def _text(description: str) -> dict[str, Any]:
    return {"schema": {"type": "string", "description": description}}
