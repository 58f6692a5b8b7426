"""In what numbers a network is computed, and which shortcuts its device may take meanwhile.

float32: exactly that.
tf32: a GPU may round what it multiplies to ten binary digits.
float16: the windows of the occlusion, which are nearly all of the work, are kept and multiplied in
half precision. Trace, guided walk and last layer stay as in tf32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from weakpoints.options import Precision


def settled(precision: Precision, device: str) -> Precision:
    """`auto` is float16 on a GPU and float32 on a CPU.

    float16 left the keypoints where they were (its rounding emulated, `half.json`).
    """
    if precision != "auto":
        return precision
    return "float16" if device.startswith("cuda") else "float32"


def windows(precision: Precision) -> torch.dtype:
    """What the occlusion computes in."""
    return torch.float16 if precision == "float16" else torch.float32


@contextmanager
def arithmetic(device: str, precision: Precision) -> Iterator[None]:
    """Whether a GPU may round to TensorFloat-32 in here: unless float32 was asked for.

    torch has such switches for the whole process only. So the one thread that owns the device turns
    them, and turns them back behind.
    """
    if device == "cpu":
        yield
        return
    rounds, before = precision != "float32", torch.backends.cuda.matmul.allow_tf32
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=rounds):
        torch.backends.cuda.matmul.allow_tf32 = rounds
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def tuned(device: str) -> Iterator[None]:
    """In here a GPU tries which algorithm is best for a convolution's shape, when it first sees it.

    That takes 100 to 150 ms a shape (measured on an H200). It is for the windows of the occlusion,
    whose shapes come again. For whole passes every number of pictures has shapes of its own, and a
    network of fifty convolutions would take minutes to start.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.startswith("cuda")
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
