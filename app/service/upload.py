"""One image out of a request: the raw body, or the multipart part named `image`, never more bytes than allowed."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.errors import MalformedRequest, TooLarge, UnsupportedMedia, UploadTooSlow

FIELD = "image"
ENVELOPE = 16 * 2**10  # bytes that multipart's boundaries and headers may add
REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            },
            **{
                f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
                for kind in ("jpeg", "png", "webp")
            },
        },
    }
}


async def read_image(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Raises MalformedRequest, TooLarge as soon as the limit is passed, UnsupportedMedia, or UploadTooSlow after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, max_bytes)
    except TimeoutError:
        raise UploadTooSlow(f"the body was not here after {seconds:g} s", limit=seconds) from None


async def _read(request: Request, max_bytes: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedMedia(
            f"Content-Encoding {encoding!r} is not accepted; send the image as it is"
        )
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith("multipart/form-data"):
        return await _part(request, await _body(request, max_bytes, ENVELOPE))
    if content_type.startswith("image/"):
        return await _body(request, max_bytes, 0)
    raise UnsupportedMedia(
        f"Content-Type is {content_type or 'missing'!r}; send multipart/form-data with a part named {FIELD!r}, or image/*"
    )


async def _body(request: Request, max_bytes: int, envelope: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    _refuse(int(declared) if declared.isdecimal() else 0, max_bytes, envelope)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        _refuse(len(body), max_bytes, envelope)
    return bytes(body)


async def _part(request: Request, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    if not body:
        raise MalformedRequest(f"the request is empty; send a part named {FIELD!r}", actual=0)
    try:
        form = await MultiPartParser(request.headers, stream(), max_files=8, max_fields=8).parse()
    except (MultiPartException, KeyError) as error:
        raise MalformedRequest("the multipart body is not well formed") from error
    try:
        images = [part for part in form.getlist(FIELD) if isinstance(part, UploadFile)]
        if len(images) != 1:
            names = ", ".join(repr(name[:40]) for name, _ in form.multi_items()) or "none"
            raise MalformedRequest(
                f"one file in a part named {FIELD!r} is expected; parts that came: {names}",
                expected=FIELD,
            )
        return await images[0].read()
    finally:
        await form.close()


def _refuse(actual: int, limit: int, envelope: int) -> None:
    if actual > limit + envelope:
        raise TooLarge(
            f"the body has {actual} bytes or more; an image may have at most {limit}",
            limit=limit,
            actual=actual,
        )
