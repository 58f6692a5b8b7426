"""What the schema says beside what FastAPI finds: photographs as bodies, streams, headers."""

from typing import Any

from app.schemas.queries import Strict
from app.service.http import deadlines
from app.service.intake.refusals import FIELD
from weakpoints.images.header import READ
from weakpoints.options import Format

JSON, LINES, EVENTS = "application/json", "application/x-ndjson", "text/event-stream"
PNG, NPZ = "image/png", "application/x-npz"
FORMAT_OF_TYPE: dict[str, Format] = {PNG: "png", NPZ: "npz"}
FILE_SCHEMA = {"type": "string", "format": "binary"}
FILES_SCHEMA = {
    "type": "array",
    "items": FILE_SCHEMA,
    "minItems": 1,
    "description": "one photograph in each part of this name, up to WEAKPOINTS_MAX_IMAGES",
}
ABOUT = """Every answer has the header `X-Request-ID`: what the request had there, else a new one.
The log has it, too. Every error is a problem as RFC 9457 has it."""
DEADLINE = {
    "name": deadlines.TIMEOUT_HEADER,
    "in": "header",
    "description": "seconds that the caller waits; then 504, and nothing more is done for it",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
TEXT = {"schema": {"type": "string"}}
TIMED_HEADERS = {
    "Server-Timing": {"description": "milliseconds of each stage"} | TEXT,
    "Cache-Status": {"description": "`hit` where the answer was kept from an earlier request"}
    | TEXT,
}
EXTENT = {
    name: {"description": f"the {which} value of the map", "schema": {"type": "number"}}
    for name, which in (("X-Map-Min", "lowest"), ("X-Map-Max", "highest"))
}


def posted(content: dict[str, Any]) -> dict[str, Any]:
    """An operation to which `content` is sent, by media type, and which is given time."""
    return {"requestBody": {"required": True, "content": content}, "parameters": [DEADLINE]}


def photographs_body(image: dict[str, Any], query: type[Strict]) -> dict[str, Any]:
    """A body; `image` is the schema of the form's field: FILE or FILES.

    query: the options, which may be fields of the form as well.
    """
    options = {
        name: option | {"anyOf": [one for one in option["anyOf"] if one != {"type": "null"}]}
        if "anyOf" in option
        else option
        for name, option in query.model_json_schema()["properties"].items()
    }
    form = {"type": "object", "required": [FIELD], "properties": options | {FIELD: image}}
    raw = {
        media_type: {"schema": FILE_SCHEMA} for media_type in (*READ, "application/octet-stream")
    }
    return posted({"multipart/form-data": {"schema": form}, **raw})


def streams(results: str = "Results") -> dict[str, Any]:
    """The answers that come bit by bit; results: the schema of what several photographs get.

    `itemSchema` is OpenAPI 3.2's; FastAPI writes it in a document of 3.1, too.
    """
    line = {"$ref": f"#/components/schemas/{results}/properties/results/items"}
    event = {
        "type": "object",
        "description": "of one photograph: `progress` events, then `result` or `error`",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": ["progress", "result", "error"]},
            "data": {"type": "string", "contentMediaType": JSON},
        },
    }
    return {LINES: {"itemSchema": line}, EVENTS: {"itemSchema": event}}
