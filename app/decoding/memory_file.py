"""The file by which a picture goes to the process that decodes, and its pixels come back."""

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from weakpoints.errors import Unavailable

KEPT = 2**24  # bytes of a file that is used again


class MemoryFiles:
    """Files that are used again, at most `most`: new pages cost as much as decoding.

    Any number of threads may share it.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._idle: list[Any] = []
        self.close = weakref.finalize(self, _close, self._idle)  # with this object at the latest

    @contextmanager
    def one(self, data: bytes) -> Iterator[Any]:
        """A file that begins with `data`. Raises Unavailable where the system has no room for it.

        One whose use failed is not used again.
        """
        with ExitStack() as opened:
            try:
                file = opened.enter_context(self._taken())
                write(file.fileno(), memoryview(data))
            except OSError as error:
                raise Unavailable(f"no room to decode: {error.strerror}", retry_after=5) from error
            yield file
            self._give_back(file)
            opened.pop_all()

    def _taken(self) -> Any:
        with self._lock:
            return self._idle.pop() if self._idle else _nameless_file()

    def _give_back(self, file: Any) -> None:
        if os.fstat(file.fileno()).st_size > KEPT:
            os.ftruncate(file.fileno(), KEPT)
        with self._lock:
            if self.close.alive and len(self._idle) < self._most:
                self._idle.append(file)
            else:
                file.close()


def _close(files: list[Any]) -> None:
    while files:
        files.pop().close()


def _nameless_file() -> Any:
    """Nowhere but in memory, and it goes with its last user, whatever ends.

    It is not of `/dev/shm`, of which a container has 64 MiB.
    """
    with suppress(AttributeError, OSError):  # not on macOS; a sandbox may forbid it
        return open(os.memfd_create("picture"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def write(file: int, pixels: memoryview) -> None:
    """A write may take only a part, at most 2 GiB."""
    at = 0
    while at < len(pixels):
        at += os.pwrite(file, pixels[at:], at)
