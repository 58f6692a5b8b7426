"""What goes between the service and a process that decodes: a task, and a file in memory.

The picture goes in that file, and its pixels come back in it.
"""

import errno
import fcntl
import json
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import Unavailable
from weakpoints.options import Limits

READY, BEGAN = b"ready\n", b"began\n"
MESSAGE_BYTES = 65_536  # of a message, at most
FORBIDDEN = {errno.ENOSYS, errno.EPERM, errno.EACCES}  # what a sandbox says of a system call
KEPT_BYTES = 2**24  # bytes of a file that is used again


@dataclass(frozen=True)
class Task:
    """length: bytes of the picture, which the file begins with; seconds: that it may take.

    background: see `decode`.
    """

    length: int
    seconds: float
    limits: Limits
    background: str

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def task_of(line: bytes) -> Task:
    fields = json.loads(line)
    return Task(**fields | {"limits": Limits(**fields["limits"])})


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
        small = os.fstat(file.fileno()).st_size <= KEPT_BYTES
        with self._lock:
            if small and self.close.alive and len(self._idle) < self._most:
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
    try:
        number = os.memfd_create("picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except (AttributeError, OSError) as error:  # not on macOS; a sandbox may forbid it
        if isinstance(error, OSError) and error.errno not in FORBIDDEN:
            raise
        return tempfile.TemporaryFile(buffering=0)
    return open(number, "r+b", buffering=0)


def pixels_of(file: Any, shape: Sequence[int]) -> NDArray[np.uint8]:
    """The picture that the file begins with. Raises EOFError where it is shorter.

    A large one is not copied: it stays where it is, sealed, so that no process changes it.
    """
    size = prod(shape)
    if size > KEPT_BYTES and _sealed(file):
        if os.fstat(file.fileno()).st_size < size:
            raise EOFError
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        return np.ndarray(tuple(shape), np.uint8, mapped)
    image = np.empty(shape, np.uint8)
    file.seek(0)
    if file.readinto(image.data.cast("B")) != size:
        raise EOFError
    return image


def _sealed(file: Any) -> bool:
    """Whether the file can't be written or cut any more, by whoever has it."""
    try:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)
    except (AttributeError, OSError):  # not Linux, or a file of a disk
        return False
    return True


def write(file: int, pixels: memoryview) -> None:
    """A write may take only a part, at most 2 GiB."""
    at = 0
    while at < len(pixels):
        at += os.pwrite(file, pixels[at:], at)
