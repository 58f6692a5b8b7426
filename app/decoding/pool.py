"""Pictures decoded in processes of their own, which can be ended: a hole in a codec costs a child.

The pool is our own, for what others do when a child ends. `concurrent.futures` and loky 3.7 give up
every task of the pool, not the one. pebble 5.2 gives up the pool where the child was idle. It waits
3 s for a codec to heed SIGTERM, under a lock that all others need, and looks each 0.1 s. And all of
them import the parent's main module into their children, which may be all of torch.
"""

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.decoding.child import BEGAN, LINE, READY, Task, write
from app.errors import (
    BadImage,
    DeadlinePassed,
    MalformedRequest,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from app.method.image import admit
from app.options import WHITE, Limits

log = logging.getLogger("weakpoints")
SECONDS = 60.0  # for a picture whose caller sets no deadline
FIXED, PER_PIXEL = 2**28, 32  # bytes that a child may take: coefficients, 16-bit lines, the pixels
ENVIRONMENT = {  # glibc keeps what it freed up to 64 MiB: new pages cost as much as a small picture
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "OPENBLAS_NUM_THREADS": "1",
}
ERRORS = {each.__name__: each for each in (BadImage, MalformedRequest, TooLarge, UnsupportedMedia)}


class Call:
    """One picture's decoding; `give_up` ends it, from any thread, at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: Child | None = None
        self.given_up = False

    def give_up(self) -> None:
        with self._lock:
            self.given_up = True
            if self._child is not None:
                self._child.end()

    def works_for(self, child: "Child | None") -> None:
        """Raises DeadlinePassed where it was given up before it began."""
        with self._lock:
            self._child = child
            if child is not None and self.given_up:
                raise DeadlinePassed


class Child:
    """A process of `app.decoding.child`, started now, and ended with this object at the latest."""

    def __init__(self, memory: int) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            number = str(theirs.fileno())
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "app.decoding.child", number, str(memory)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,  # until it is ready; then it writes none
                    pass_fds=[theirs.fileno()],
                    env=os.environ | ENVIRONMENT | {"PYTHONPATH": path},
                )
            except OSError:
                self._socket.close()
                raise
        self._ready, self._read = False, b""
        self.began = False  # with the task that it was given
        self.end = weakref.finalize(self, _end, self.process, self._socket)

    @property
    def alive(self) -> bool:
        return self.end.alive and self.process.poll() is None

    def wait(self, until: float) -> None:
        """Until it has started. Raises TimeoutError, or Unavailable where it ended instead."""
        if self._ready:
            return
        assert self.process.stderr is not None
        if self._line(until) != READY:
            said = self.process.stderr.read().decode(errors="replace")
            log.error("the process that decodes can't start", extra={"said": said})
            raise Unavailable("the process that decodes can't start", retry_after=5)
        self.process.stderr.close()
        self._ready = True

    def ask(self, task: Task, file: int, until: float) -> dict[str, Any]:
        """The answer to one task.

        Raises TimeoutError. Raises EOFError where the child ended, or Unavailable where it ended
        before it was ready.
        """
        self.began = False
        self.wait(until)
        socket.send_fds(self._socket, [task.line()], [file])
        self.began = self._line(until) == BEGAN
        line = self._line(until)
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _line(self, until: float) -> bytes:
        """The next one; of a child that ended, what is left."""
        while b"\n" not in self._read and len(self._read) < LINE:
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            part = self._socket.recv(LINE)
            if not part:
                break
            self._read += part
        line, mark, self._read = self._read.partition(b"\n")
        return line + mark


class Decoders:
    """At most so many children, each started when it is first needed, or before by `start`.

    Any number of threads may share it.
    """

    def __init__(self, most: int, limits: Limits) -> None:
        self._most, self._limits = most, limits
        self._memory = FIXED + PER_PIXEL * limits.max_pixels
        self._free = threading.Condition()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """One child, so that the first picture need not wait for it. To be called before `wait`."""
        with self._free:
            self._idle.append(Child(self._memory))

    def wait(self) -> None:
        """Until that child has started. Raises Unavailable where it can't."""
        until = time.monotonic() + SECONDS
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

    def decode(
        self,
        data: bytes,
        seconds: float = SECONDS,
        call: Call | None = None,
        background: str = WHITE,
    ) -> NDArray[np.uint8]:
        """(H, W, 3) or (H, W, 4), as `app.method.image.decode` makes it, and with its errors.

        Raises DeadlinePassed after so many seconds or when the call is given up, and BadImage where
        the child came to its end by this picture.
        """
        call, until = call or Call(), time.monotonic() + seconds
        admit(data, self._limits)
        task = Task(len(data), seconds, self._limits, background)
        with _memory_file(data) as file:
            return self._with_a_child(file, data, task, until, call)

    def _with_a_child(
        self, file: Any, data: bytes, task: Task, until: float, call: Call
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
        image = np.empty(answer["shape"], np.uint8)
        file.seek(0)
        if file.readinto(image.data.cast("B")) != image.size:
            raise EOFError
        return image

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
                    self._idle.append(self._another())
            self._free.notify()

    def _another(self) -> Child:
        """Raises Unavailable where the system has no process, memory or file for it."""
        try:
            return Child(self._memory)
        except OSError as error:
            raise Unavailable(
                f"no process can be started to decode: {error.strerror}", retry_after=5
            ) from error


@contextmanager
def _memory_file(data: bytes) -> Iterator[Any]:
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


def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    """Closing the socket alone would do for a child that is idle."""
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
    channel.close()
