"""API keys: a file with one a line; what changes in it holds from the next request on."""

import base64
import codecs
import hashlib
import hmac
import logging
from pathlib import Path
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from weakpoints.errors import Unauthorized, WeakpointsError

log = logging.getLogger("weakpoints")


class Keys:
    """The keys of a file, one a line; lines that begin with # are comments.

    Without a file everybody is let in. A file that can't be read any more lets nobody in.
    """

    def __init__(self, path: Path | None) -> None:
        """Raises WeakpointsError where the file can't be read."""
        self._path = path
        self._content: bytes | None = None
        self._digests: tuple[bytes, ...] = ()
        if path is not None:
            try:
                self._read(path)
            except (OSError, ValueError) as error:
                raise WeakpointsError(f"the file of keys {path} can't be read: {error}") from error
            if not self._digests:
                log.warning("the file of keys has no key: nobody is let in")

    def check(self, key: str) -> str:
        """A name for whom the key belongs to, which does not tell the key.

        key: as it came, "" where none came. Raises Unauthorized.
        """
        if self._path is None:
            return ""
        given = _key_digest(key)
        # All of them are compared, so that the time tells nothing.
        matches = [hmac.compare_digest(given, known) for known in self._known(self._path)]
        if not any(matches):
            raise Unauthorized(
                "a valid key is needed, as `Authorization: Bearer ...` or `X-API-Key`"
            )
        return given.hex()

    def _known(self, path: Path) -> tuple[bytes, ...]:
        try:
            self._read(path)
        except (OSError, ValueError):
            self._content, self._digests = None, ()
        return self._digests

    def _read(self, path: Path) -> None:
        """Compares what is in the file: its time and size may be the same after a change."""
        content = path.read_bytes()
        # Most requests find the file as it was, and hash nothing.
        if content != self._content:
            utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            text = content.decode("utf-16" if utf16 else "utf-8-sig")  # with Windows' mark, or none
            lines = (line.strip() for line in text.splitlines())
            self._digests = tuple(
                _key_digest(line) for line in lines if line and not line.startswith("#")
            )
            self._content = content


async def let_in(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
    header: Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))],
) -> None:
    """A dependency for routes that need a key, which `/docs` then asks for. Raises Unauthorized."""
    token = bearer.credentials.strip() if bearer else ""
    request.state.key = request.app.state.service.keys.check(header or token)


async def let_label_studio_in(request: Request) -> None:
    """The same for Label Studio, which knows HTTP Basic alone: the key is its password.

    Its webhook sends the headers that it is told to. Raises Unauthorized.
    """
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    key = request.headers.get("x-api-key", "")
    if not key and scheme.lower() == "bearer":
        key = credentials.strip()
    if not key and scheme.lower() == "basic":
        key = _password(credentials.strip())
    try:
        request.state.key = request.app.state.service.keys.check(key)
    except Unauthorized:
        raise Unauthorized(
            "a valid key is needed, as the password of HTTP Basic, with any user name; in a "
            "webhook as the header `Authorization: Bearer ...`"
        ) from None


def _password(credentials: str) -> str:
    """Of `user:password` in base64; "" where it is none."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2].strip()
    except ValueError:  # no base64, or no UTF-8
        return ""


def _key_digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
