"""The process that decodes: one picture after the other, without torch, in bounded memory and time.

A request is a line of JSON, and a file in memory that holds the picture. The answer is `began`,
then a line of JSON; the pixels are then in that file. The process ends with its parent, or by
SIGALRM at a deadline that its parent did not see to.
"""

import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from math import prod
from typing import Any

import cv2
from PIL import AvifImagePlugin, Image

from app import allocator
from app.decoding.exchange import BEGAN, MESSAGE_BYTES, READY, Task, task_of, write
from weakpoints.errors import BadImage, WeakpointsError
from weakpoints.images.decode import decode

LARGE_BYTES = 2**24  # bytes of pixels
PARENT_GRACE = 2.0  # seconds for which the parent comes first


def main() -> None:
    """Answers the parent until it ends.

    Arguments: the descriptor of the socket to the parent, and the bytes of memory to take at most.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the parent decides
        signal.signal(ignored, signal.SIG_IGN)
    one_thread()
    bound_memory(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as parent:
        parent.sendall(READY)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # codecs write what they think of a picture
        answer_parent(parent)


def one_thread() -> None:
    """A core a child, and memory for no more threads. How large a picture may be, we say."""
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = None
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 1


def bound_memory(more: int) -> None:
    """`more` bytes than there are now, and no core dumps.

    A lower limit of the process (`ulimit -v`) stays. Without /proc, as on macOS, there is no bound.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm") as sizes:
            now = int(sizes.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def answer_parent(parent: socket.socket) -> None:
    """Until the parent closes its end."""
    while True:
        line, files, _, _ = socket.recv_fds(parent, MESSAGE_BYTES, 1)
        if not line:
            return
        task = task_of(line)
        signal.setitimer(signal.ITIMER_REAL, task.seconds + PARENT_GRACE)
        parent.sendall(BEGAN)
        answer = answer_to(task, files[0])
        os.close(files[0])
        signal.setitimer(signal.ITIMER_REAL, 0)
        parent.sendall(json.dumps(answer).encode() + b"\n")
        if prod(answer.get("shape", (LARGE_BYTES,))) >= LARGE_BYTES:
            allocator.trim_heap()  # after a large picture it would be kept for ever


def answer_to(task: Task, file: int) -> dict[str, Any]:
    """The shape of the pixels that were written over the picture, or the error."""
    try:
        image = decode(os.pread(file, task.length, 0), task.limits, task.background)
        write(file, image.data.cast("B"))
    except MemoryError:
        return {"error": "MemoryError"}
    except WeakpointsError as error:
        return {"error": type(error).__name__, "detail": error.detail, "figures": error.figures}
    except Exception as error:  # a codec's binding may raise anything
        return {"error": BadImage.__name__, "detail": f"{type(error).__name__}", "figures": {}}
    return {"shape": image.shape}


if __name__ == "__main__":
    main()
