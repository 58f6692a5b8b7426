"""Integer arithmetic of what a change reaches: how an interval of pixels grows through a layer, along one axis."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spans:
    """For each of P pictures the pixels first..last (inclusive, (P,) int) of an axis of `length` pixels that may have changed."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    length: int

    @property
    def size(self) -> int:
        """Of the one window that fits every picture's span."""
        return int((self.last - self.first).max()) + 1

    @property
    def starts(self) -> NDArray[np.int64]:
        """(P,): where each picture's window begins, moved inwards where it would leave the map."""
        return np.minimum(self.first, self.length - self.size)

    def through(self, kernel: int, stride: int, padding: int) -> "Spans":
        """The outputs whose kernels meet the span, clipped to the map; one output at the rim where none does."""
        length = (self.length + 2 * padding - kernel) // stride + 1
        first = -((kernel - 1 - padding - self.first) // stride)  # the ceiling of (first + padding - kernel + 1) / stride
        last = (self.last + padding) // stride
        first = np.clip(first, 0, length - 1)
        return Spans(first, np.clip(last, first, length - 1), length)

    def inputs(self, kernel: int, stride: int, padding: int) -> NDArray[np.int64]:
        """(P, m): the input pixels, some of them padding, that this window of outputs is computed from."""
        reach = (self.size - 1) * stride + kernel
        return self.starts[:, None] * stride - padding + np.arange(reach)
