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
    """What a GPU may do in here: round to TensorFloat-32, and try algorithms.

    It rounds unless float32 was asked for. It tries which algorithm is best for a shape. torch has
    these switches for the whole process only. So the one thread that owns the device turns them,
    and turns them back behind.
    """
    if device == "cpu":
        yield
        return
    rounds, before = precision != "float32", torch.backends.cuda.matmul.allow_tf32
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=rounds):
        torch.backends.cuda.matmul.allow_tf32 = rounds
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
