"""Pictures decoded in processes of their own, which can be ended: a hole in a codec costs a child.

The pool is our own, for what others do when a child ends. `concurrent.futures` and loky 3.7 give up
every task of the pool, not the one. pebble 5.2 gives up the pool where the child was idle. It waits
3 s for a codec to heed SIGTERM, under a lock that all others need, and looks each 0.1 s. And all of
them import the parent's main module into their children, which may be all of torch.
"""

import logging
import subprocess
import threading
import time
from contextlib import suppress
from hashlib import sha256
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.decoding.exchange import MemoryFiles, Task, pixels_of
from app.decoding.handle import Child, DecodeCall
from weakpoints.errors import (
    BadImage,
    DeadlinePassed,
    MalformedRequest,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from weakpoints.options import WHITE, Limits

log = logging.getLogger("weakpoints")
DECODE_SECONDS = 60.0  # for a picture whose caller sets no deadline
FIXED, PER_PIXEL = 2**28, 32  # bytes that a child may take: coefficients, 16-bit lines, the pixels
ERRORS = {kind.__name__: kind for kind in (BadImage, MalformedRequest, TooLarge, UnsupportedMedia)}


def memory_of_child(limits: Limits) -> int:
    """Bytes that a child may take beyond what it has at its start."""
    return FIXED + PER_PIXEL * limits.max_pixels


class Decoders:
    """At most so many children, each started when it is first needed, or before by `start`.

    Any number of threads may share it.
    """

    def __init__(self, most: int, limits: Limits) -> None:
        self._most, self._limits = most, limits
        self._memory = memory_of_child(limits)
        self._free = threading.Condition()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._closed = False
        self._files = MemoryFiles(most)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def start(self) -> None:
        """Two children where there may be: a small picture need not wait beside a large one.

        To be called before `wait`.
        """
        with self._free:
            self._idle += [Child(self._memory) for _ in range(min(2, self._most))]

    def wait(self) -> None:
        """Until that child has started. Raises Unavailable where it can't."""
        until = time.monotonic() + DECODE_SECONDS
        child = self._take(until)
        try:
            child.wait(until)
        finally:
            self._give_back(child)

    def close(self) -> None:
        """Ends every child; what is being decoded is given up."""
        with self._free:
            self._closed = True
            for child in (*self._idle, *self._busy):
                child.end()
            self._idle.clear()
            self._free.notify_all()
        self._files.close()

    def decode(
        self,
        data: bytes,
        seconds: float = DECODE_SECONDS,
        call: DecodeCall | None = None,
        background: str = WHITE,
    ) -> NDArray[np.uint8]:
        """(H, W, 3) or (H, W, 4), as `images.decode` makes it, and with its errors.

        Raises DeadlinePassed after so many seconds or when the call is given up, and BadImage where
        the child came to its end by this picture.
        """
        call, until = call or DecodeCall(), time.monotonic() + seconds
        task = Task(len(data), seconds, self._limits, background)
        with self._files.one(data) as file:
            return self._with_a_child(file, data, task, until, call)

    def _with_a_child(
        self, file: Any, data: bytes, task: Task, until: float, call: DecodeCall
    ) -> NDArray[np.uint8]:
        """By one child, or by the next where it had ended before it began."""
        while True:
            child = self._take(until)
            try:
                call.works_for(child)
                return self._decoded(child, file, task, until)
            except (EOFError, OSError):
                child.end()
                if call.given_up or self._closed or time.monotonic() >= until:
                    raise DeadlinePassed(
                        f"the picture was not decoded after {task.seconds:g} s", limit=task.seconds
                    ) from None
                # It ended over this picture, and another child would as well.
                if child.began:
                    raise _crashed(child.process, data) from None
                log.warning("a process that decodes ended while it was idle; there is another")
            finally:
                call.works_for(None)
                self._give_back(child)

    def _decoded(self, child: Child, file: Any, task: Task, until: float) -> NDArray[np.uint8]:
        answer = child.ask(task, file.fileno(), until)
        if "shape" not in answer:
            raise self._refusal(child, answer)
        return pixels_of(file, answer["shape"])

    def _refusal(self, child: Child, answer: dict[str, Any]) -> Exception:
        if answer["error"] == MemoryError.__name__:
            child.end()  # whose memory may be in pieces
            return BadImage(
                f"the picture takes more than {self._memory} bytes of memory to decode",
                limit=self._memory,
            )
        return ERRORS[answer["error"]](answer["detail"], **answer["figures"])

    def _take(self, until: float) -> Child:
        """A child that is free.

        Raises DeadlinePassed where there is none in time, Unavailable where none can be started.
        """
        with self._free:
            while not self._closed:
                if self._idle:
                    child = self._idle.pop()
                elif len(self._busy) < self._most:
                    child = self._another()
                elif self._free.wait(max(until - time.monotonic(), 0)):
                    continue
                else:
                    break
                self._busy.add(child)
                return child
            raise DeadlinePassed

    def _give_back(self, child: Child) -> None:
        """In place of a child that ended comes a new one, at once."""
        with self._free:
            self._busy.discard(child)
            if self._closed:
                child.end()
            elif child.alive:
                self._idle.append(child)
            else:
                with suppress(Unavailable):  # then whoever needs it tries again
                    self._idle.insert(0, self._another())  # taken last: it has to start
            self._free.notify()

    def _another(self) -> Child:
        """Raises Unavailable where the system has no process, memory or file for it."""
        try:
            return Child(self._memory)
        except OSError as error:
            raise Unavailable(
                f"no process can be started to decode: {error.strerror}", retry_after=5
            ) from error


def _crashed(process: subprocess.Popen[bytes], data: bytes) -> BadImage:
    log.error(
        "a picture of %d bytes, SHA-256 %s, ended the process that decoded it: exit status %d",
        len(data),
        sha256(data).hexdigest(),
        process.returncode,
    )
    return BadImage(
        f"the decoder broke down over the picture of {len(data)} bytes", actual=len(data)
    )
