"""What glibc's allocator keeps of freed memory. Elsewhere these do nothing.

They are for processes of our own, which no other program shares.
"""

import ctypes
import platform

ARENA_MAX = -8  # `M_ARENA_MAX` of malloc.h
HEAPS = 2


def limit_malloc_arenas() -> None:
    """To be called before threads are started.

    Else each thread has a heap of its own, which keeps what the largest work of that thread took.
    """
    if library := _glibc():
        library.mallopt(ARENA_MAX, HEAPS)


def trim_heap() -> None:
    """To the system, what is kept for later."""
    if library := _glibc():
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
