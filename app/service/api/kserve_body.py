"""The photographs of a JSON body: `{"instances": [{"b64": "..."}], "parameters": {...}}`.

`{"b64": ...}` is how TensorFlow Serving has binary values; KServe's V1 protocol comes from there.
"""

from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from app.schemas.queries import DetectParameters, LandmarksParameters
from app.service.api.openapi import posted
from app.service.http.deadlines import Caller
from app.service.intake.upload import ENVELOPE, UploadPace, check_encoding, receive_body
from weakpoints.errors import MalformedRequest, TooLarge, WeakpointsError

BOM = b"\xef\xbb\xbf"  # which some systems write before text
BASE64_LINE = (76, 78)  # letters of a line of base64, without and with its end (RFC 2045, 6.8)
OTHER_LETTERS = bytes.maketrans(b"-_", b"+/")  # of URLs and file names (RFC 4648, section 5)
VALUES = 1000  # commas and brackets of a body: base64 has none, and each costs memory when parsed

InstanceOptions = TypeVar("InstanceOptions", bound=DetectParameters | LandmarksParameters)


class Base64(BaseModel):
    """Bytes in base64 (RFC 4648), in lines or not, with the head of a `data:` address or not."""

    model_config = ConfigDict(extra="forbid")
    b64: str


class Instances(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(extra="forbid")
    instances: list[Base64] = Field(min_length=1)
    parameters: dict[str, Any] = {}


@dataclass(frozen=True)
class InstanceBatch:
    """The encoded photographs of a request, and its options as they came."""

    photographs: tuple[bytes, ...]
    parameters: dict[str, Any]


@dataclass(frozen=True)
class InstanceRequest(Generic[InstanceOptions]):
    """One of the `of` photographs of a request, and who waits for its answer.

    reserved: closed when the picture is no longer in memory.
    """

    photograph: bytes
    of: int
    parameters: InstanceOptions
    caller: Caller
    reserved: ExitStack


def most_bytes(max_bytes: int) -> int:
    """Of a body: its photographs together are as large as one may be, max_bytes."""
    short, long = BASE64_LINE
    return 4 * ceil(max_bytes / 3) * long // short + ENVELOPE


async def read_json_body(request: Request, max_bytes: int, pace: UploadPace) -> bytearray:
    """The body, whatever its type: KServe's client names none.

    Raises UnsupportedMedia, UploadTooSlow, and TooLarge as soon as the limit is passed.
    """
    check_encoding(request)
    body, most = bytearray(), most_bytes(max_bytes)
    try:
        await receive_body(request, most, pace, body.extend)
    except TooLarge as error:
        raise TooLarge(
            f"the body has {error.figures['actual']} bytes or more; at most {most} are read, "
            f"which are {max_bytes} bytes of photographs in base64",
            **error.figures,
        ) from None
    return body


def parse(body: bytes | bytearray, max_bytes: int, most: int) -> InstanceBatch:
    """The photographs of a body, at most `most` of them, of at most max_bytes each.

    Raises MalformedRequest, or TooLarge before one of them is decoded.
    """
    values = sum(body.count(mark) for mark in (b",", b"[", b"{"))
    if values > VALUES:
        raise MalformedRequest(
            f"the JSON has {values} commas and brackets; at most {VALUES} are read",
            limit=VALUES,
            actual=values,
        )
    try:
        body_model = Instances.model_validate_json(body.removeprefix(BOM))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise MalformedRequest(
            f'{where}: {first["msg"]}; send {{"instances": [{{"b64": "..."}}]}}'
        ) from None
    if len(body_model.instances) > most:
        raise TooLarge(
            f"{len(body_model.instances)} instances came; at most {most} are accepted",
            limit=most,
            actual=len(body_model.instances),
        )
    letters, photographs = [], []
    for index, instance in enumerate(body_model.instances):
        with with_index(index):
            letters.append(_letters(instance.b64))
            _check_size(letters[-1], max_bytes)
    for index, text in enumerate(letters):
        with with_index(index):
            photographs.append(_decoded(text))
    return InstanceBatch(tuple(photographs), body_model.parameters)


@contextmanager
def with_index(index: int) -> Iterator[None]:
    """An error names the instance, from 0."""
    try:
        yield
    except WeakpointsError as error:
        error.figures["index"] = index
        raise


def body_of(*kinds: type[BaseModel]) -> dict[str, Any]:
    """The operation for OpenAPI; kinds: what its parameters may be."""
    schemas = [kind.model_json_schema() for kind in kinds]
    instance = {
        "type": "object",
        "required": ["b64"],
        "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "instances": {"type": "array", "minItems": 1, "items": instance},
            "parameters": schemas[0] if len(schemas) == 1 else {"anyOf": schemas},
        },
        "additionalProperties": False,
    }
    return posted({"application/json": {"schema": schema}})


def _letters(text: str) -> bytes:
    """Those of RFC 4648, section 4, and nothing else. Raises MalformedRequest."""
    head, comma, rest = text.partition(",")
    if comma and head.lstrip().lower().startswith("data:") and head.endswith(";base64"):
        text = rest
    try:
        letters = text.encode("ascii").translate(OTHER_LETTERS, b" \t\r\n").rstrip(b"=")
    except UnicodeEncodeError as error:
        raise MalformedRequest(f"b64 is not base64 (RFC 4648): {error.reason}") from None
    return letters + b"=" * (-len(letters) % 4)


def _check_size(text: bytes, max_bytes: int) -> None:
    size = len(text) * 3 // 4 - text[-2:].count(b"=")
    if size > max_bytes:
        raise TooLarge(
            f"the image has {size} bytes; at most {max_bytes} are accepted",
            limit=max_bytes,
            actual=size,
        )


def _decoded(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise MalformedRequest(f"b64 is not base64 (RFC 4648): {error}") from None
