"""API keys: a file with one a line; what changes in it holds from the next request on."""

import codecs
import hashlib
import hmac
import logging
from pathlib import Path

from app.errors import Unauthorized, WeakpointsError

log = logging.getLogger("weakpoints")


class Keys:
    """Of a file, or of none: then everybody is let in. A file that can't be read any more lets nobody in."""

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

    def check(self, authorization: str, key: str) -> None:
        """The two headers as they came, "" if they did not. Raises Unauthorized."""
        if self._path is None:
            return
        scheme, _, token = authorization.partition(" ")
        given = _digest(key or (token.strip() if scheme.lower() == "bearer" else ""))
        matches = [
            hmac.compare_digest(given, known) for known in self._known(self._path)
        ]  # all of them: time tells nothing
        if not any(matches):
            raise Unauthorized(
                "a valid key is needed, as `Authorization: Bearer ...` or `X-API-Key`"
            )

    def _known(self, path: Path) -> tuple[bytes, ...]:
        try:
            self._read(path)
        except (OSError, ValueError):
            self._content, self._digests = None, ()
        return self._digests

    def _read(self, path: Path) -> None:
        """Compares what is in the file: its time and size may be the same after a change."""
        content = path.read_bytes()
        if content != self._content:
            utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            text = content.decode("utf-16" if utf16 else "utf-8-sig")  # with Windows' mark, or none
            lines = (line.strip() for line in text.splitlines())
            self._digests = tuple(
                _digest(line) for line in lines if line and not line.startswith("#")
            )
            self._content = content


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
