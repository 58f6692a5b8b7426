"""The parent's end of a process that decodes: asks for one picture at a time, and can end it."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

from app.decoding.exchange import BEGAN, MESSAGE_BYTES, READY, Task
from weakpoints.errors import DeadlinePassed, Unavailable

log = logging.getLogger("weakpoints")
# glibc keeps what it freed up to 64 MiB: new pages cost as much as a small picture.
CHILD_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "OPENBLAS_NUM_THREADS": "1",
}


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
                    env=os.environ | CHILD_ENVIRONMENT | {"PYTHONPATH": path},
                )
            except OSError:
                self._socket.close()
                raise
        self._ready, self._read = False, b""
        self._killed = False
        self.began = False  # with the task that it was given
        self.end = weakref.finalize(self, _end_child, self.process, self._socket)

    @property
    def alive(self) -> bool:
        return self.end.alive and not self._killed and self.process.poll() is None

    def kill(self) -> None:
        """Ends it without waiting: the system takes up to 0.2 s to free what a child holds."""
        self._killed = True
        self.process.kill()

    def wait(self, until: float) -> None:
        """Until it has started. Raises TimeoutError, or Unavailable where it ended instead."""
        if self._ready:
            return
        assert self.process.stderr is not None
        if self._line(until) != READY:
            message = self.process.stderr.read().decode(errors="replace")
            log.error("the process that decodes can't start", extra={"said": message})
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
        while b"\n" not in self._read and len(self._read) < MESSAGE_BYTES:
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            part = self._socket.recv(MESSAGE_BYTES)
            if not part:
                break
            self._read += part
        line, mark, self._read = self._read.partition(b"\n")
        return line + mark


class DecodeCall:
    """One picture's decoding; `give_up` ends it, from any thread, at any time, without waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: Child | None = None
        self.given_up = False

    def give_up(self) -> None:
        with self._lock:
            self.given_up = True
            if self._child is not None:
                self._child.kill()  # the thread that waits for its answer clears up

    def works_for(self, child: Child | None) -> None:
        """Raises DeadlinePassed where it was given up before it began."""
        with self._lock:
            self._child = child
            if child is not None and self.given_up:
                raise DeadlinePassed


def _end_child(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    """Closing the socket alone would do for a child that is idle."""
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
    channel.close()
