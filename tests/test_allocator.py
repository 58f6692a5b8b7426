"""What the allocator keeps, in a process of its own."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from app import allocator

if "few" in sys.argv:
    allocator.limit_malloc_arenas()
libc, together = ctypes.CDLL(None), threading.Barrier(8)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p

def work():
    together.wait()
    libc.malloc(100_000)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
allocator.trim_heap()
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc's allocator")
def test_threads_share_two_heaps() -> None:
    def heaps(*arguments: str) -> int:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return told.count("<heap nr=")

    assert heaps("few") == 2 < heaps()
