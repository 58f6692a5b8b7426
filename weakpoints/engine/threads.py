"""Threads that work on a chunk each, and do not share their products.

Two threads inside one small product wait for each other more often than they multiply. MKL and
OpenMP both have a setting for the calling thread alone. Where PyTorch comes without them, one
thread works, and PyTorch splits products as it likes.
"""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from weakpoints.threads import SETTING, thread_count

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Each(Protocol):
    """A `map`: the results of a piece of work each, in order."""

    def __call__(
        self, work: Callable[[Piece], Result], pieces: Iterable[Piece], /
    ) -> Iterator[Result]: ...


LIBRARIES = Path(torch.__file__).parent / "lib"
SETTINGS = ("MKL_Set_Num_Threads_Local", "omp_set_num_threads")


@cache
def _settings() -> tuple[Callable[[int], object], ...]:
    """Of MKL and OpenMP, for the calling thread; none where one of the two is missing."""
    library = _library()
    return tuple(getattr(library, name) for name in SETTINGS if hasattr(library, name))


def _library() -> ctypes.CDLL:
    """PyTorch's own, which MKL is part of and which OpenMP comes with."""
    return ctypes.CDLL(str(next(LIBRARIES.glob("*torch_cpu.*"))))


def usable_threads() -> int:
    """How many may work at the same time."""
    if len(_settings()) < len(SETTINGS):
        return 1
    # What the setting says; else no more than PyTorch takes, and than a quota pays for.
    wanted = thread_count()
    return wanted if os.environ.get(SETTING) else min(torch.get_num_threads(), wanted)


def alone() -> None:
    """From now on this thread starts no others."""
    torch.get_num_threads()  # PyTorch sets a thread's number when it is first asked: before us
    for setting in _settings():
        setting(1)


@contextmanager
def pool(workers: int, *, apart: bool = False) -> Iterator[Each]:
    """A `map`; with one worker, the caller's own thread, where that need not be one `apart` that
    starts no others. What is left when it ends is dropped.

    No more is begun than the workers need until the next result is asked for: a caller that does
    something else meanwhile has the processors.
    """
    if workers == 1 and not apart:
        yield map
        return
    executor = ThreadPoolExecutor(workers, "occlusion", alone)

    def in_threads(work: Callable[[Piece], Result], pieces: Iterable[Piece], /) -> Iterator[Result]:
        begun = deque[Future[Result]]()
        for piece in pieces:
            begun.append(executor.submit(work, piece))
            if len(begun) > workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

    try:
        yield in_threads
    finally:
        executor.shutdown(cancel_futures=True)
