"""One image out of a request: the raw body, or the multipart part named `image`.

Never more bytes than allowed.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.errors import MalformedRequest, TooLarge, UnsupportedMedia, UploadTooSlow
from app.settings import Settings

FIELD = "image"
ENVELOPE = 16 * 2**10  # bytes that multipart's boundaries, headers and other parts may add
PARTS = 64  # files, and as many other fields, that a form may have
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


@dataclass(frozen=True)
class Pace:
    """How fast a body must come.

    `rate` bytes a second once `grace` seconds are over, and all of it in `total` seconds.
    """

    grace: float
    rate: float
    total: float

    @classmethod
    def of(cls, settings: Settings) -> "Pace":
        return cls(settings.upload_grace, settings.upload_rate, settings.upload_timeout)

    def seconds(self, received: int) -> float:
        """From the first to the next byte at most."""
        return min(self.total, self.grace + received / self.rate)


async def read_image(request: Request, max_bytes: int, pace: Pace) -> bytes:
    """The bytes of the image.

    Raises MalformedRequest, UnsupportedMedia or UploadTooSlow, and TooLarge as soon as the limit is
    passed.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedMedia(
            f"Content-Encoding {encoding!r} is not accepted; send the image as it is"
        )
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith("multipart/form-data"):
        return await _part(request, await _body(request, max_bytes, ENVELOPE, pace))
    if content_type.startswith("image/"):
        return await _body(request, max_bytes, 0, pace)
    raise UnsupportedMedia(
        f"Content-Type is {content_type or 'missing'!r}; "
        f"send multipart/form-data with a part named {FIELD!r}, or image/*"
    )


async def _body(request: Request, max_bytes: int, envelope: int, pace: Pace) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal():
        _refuse(int(declared[:20]), max_bytes, envelope)  # Python makes no number of 5,000 digits
    body, start = bytearray(), asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(start + pace.seconds(0)) as timer:
            async for chunk in request.stream():
                body += chunk
                _refuse(len(body), max_bytes, envelope)
                timer.reschedule(start + pace.seconds(len(body)))
    except TimeoutError:
        seconds = asyncio.get_running_loop().time() - start
        raise UploadTooSlow(
            f"{len(body)} bytes came in {seconds:.1f} s; after {pace.grace:g} s at least "
            f"{pace.rate:g} a second are expected, and all within {pace.total:g} s",
            limit=pace.total,
        ) from None
    return bytes(body)


async def _part(request: Request, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    if not body:
        raise MalformedRequest(f"the request is empty; send a part named {FIELD!r}", actual=0)
    _check_end(request, body)
    parser = MultiPartParser(
        request.headers, stream(), max_files=PARTS, max_fields=PARTS, max_part_size=len(body)
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise _malformed(error) from error
    try:
        images = [part for part in form.getlist(FIELD) if isinstance(part, UploadFile)]
        if len(images) != 1:
            raise _wrong_parts(form)
        return await images[0].read()
    finally:
        await form.close()


def _check_end(request: Request, body: bytes) -> None:
    """Raises MalformedRequest where the last boundary is missing (RFC 2046, 5.1.1)."""
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"")
    if b"--" + boundary + b"--" not in body:
        raise MalformedRequest(
            f"the multipart body is cut short: it ends after {len(body)} bytes without its last "
            f"boundary, {boundary[:70].decode('latin-1')!r}",
            actual=len(body),
        )


def _malformed(error: Exception) -> MalformedRequest:
    if "Too many" in str(error):
        return MalformedRequest(
            "the multipart body has too many parts; "
            f"at most {PARTS} files and {PARTS} fields are read",
            limit=PARTS,
        )
    return MalformedRequest("the multipart body is not well formed")


def _wrong_parts(form: FormData) -> MalformedRequest:
    """Why there isn't one image: its part is no file, or it is not there, or there are two."""
    parts = form.multi_items()
    if any(name == FIELD and isinstance(part, str) for name, part in parts):
        return MalformedRequest(
            f"the part named {FIELD!r} has no filename, so that it is text; send it as a file, "
            f'with Content-Disposition: form-data; name="{FIELD}"; filename="photograph.jpg"',
            expected=FIELD,
        )
    names = ", ".join(repr(name[:40]) for name, _ in parts) or "none"
    return MalformedRequest(
        f"one file in a part named {FIELD!r} is expected; parts that came: {names}", expected=FIELD
    )


def _refuse(actual: int, limit: int, envelope: int) -> None:
    if actual > limit + envelope:
        raise TooLarge(
            f"the body has {actual} bytes or more; an image may have at most {limit}",
            limit=limit,
            actual=actual,
        )
