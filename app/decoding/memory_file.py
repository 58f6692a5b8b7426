"""The file by which a picture goes to the process that decodes, and its pixels come back."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from app.errors import Unavailable


@contextmanager
def memory_file(data: bytes) -> Iterator[Any]:
    """A file with `data`. Raises Unavailable where the system has no room for it."""
    with ExitStack() as opened:
        try:
            file = opened.enter_context(_nameless_file())
            write(file.fileno(), memoryview(data))
        except OSError as error:
            raise Unavailable(f"no room to decode: {error.strerror}", retry_after=5) from error
        yield file


def _nameless_file() -> Any:
    """Nowhere but in memory, and it goes with its last user, whatever ends.

    It is not of `/dev/shm`, of which a container has 64 MiB.
    """
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("picture"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def write(file: int, pixels: memoryview) -> None:
    """A write may take only a part, at most 2 GiB."""
    at = 0
    while at < len(pixels):
        at += os.pwrite(file, pixels[at:], at)
