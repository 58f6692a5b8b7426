"""What this machine is, how quick it is, and what a piece of work takes of it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from app import allocator
from benchmarks import memory as resident

PRODUCT_SIZE = {"cpu": 2048, "cuda": 8192}  # rows and columns of a product that is quick


def seconds(run: Callable[[], object], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def reset_device_peak(device: str) -> None:
    """Before `memory` is asked for the peak of what follows."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    allocator.trim_heap()  # or what was freed before would still be resident
    resident.reset_process_peak("self")


def memory(device: str, field: str) -> int | None:
    """Bytes: VmRSS is what is held now, VmHWM the peak."""
    if device == "cuda":
        return (
            torch.cuda.max_memory_allocated() if field == "VmHWM" else torch.cuda.memory_allocated()
        )
    return resident.status_bytes("self", field)


def matmul_rate(x: Tensor) -> float:
    """Multiplications a second of the LARGEST product, the best of ten."""
    size = PRODUCT_SIZE[x.device.type]
    a = torch.randn(size, size, dtype=torch.float32).to(x)
    return size**3 / min(seconds(lambda: a @ a, x.device.type) for _ in range(10))


@contextmanager
def busy_loop() -> Iterator[None]:
    """Another program of normal priority that needs one core all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as loop:
        try:
            yield
        finally:
            loop.kill()
