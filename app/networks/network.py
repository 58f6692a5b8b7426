"""The layer table of a convolutional classifier: built once, read by the forward pass, the occlusion and the guided walk."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Conv:
    """Convolution with batch-norm folded in, and the ReLU behind it if there is one."""

    weight: Tensor
    bias: Tensor | None
    stride: int
    padding: int
    relu: bool

    @property
    def kernel(self) -> int:
        return self.weight.shape[-1]

    def __call__(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return y.relu() if self.relu else y


@dataclass(frozen=True)
class MaxPool:
    kernel: int
    stride: int
    padding: int
    relu = False

    def __call__(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel, self.stride, self.padding)


@dataclass(frozen=True)
class Residual:
    """relu(main(x) + shortcut(x)); an empty shortcut is the identity."""

    main: tuple["Row", ...]
    shortcut: tuple["Row", ...]
    relu = True

    def __call__(self, x: Tensor) -> Tensor:
        return (_last(self.main, x) + _last(self.shortcut, x)).relu()


@dataclass(frozen=True)
class AveragePool:
    """Adaptive: always `side` x `side` out."""

    side: int
    relu = False

    def __call__(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.side)


@dataclass(frozen=True)
class Linear:
    """On the flattened input, in the precision of its own weights."""

    weight: Tensor
    bias: Tensor
    relu: bool

    def __call__(self, x: Tensor) -> Tensor:
        y = F.linear(x.flatten(1).to(self.weight.dtype), self.weight, self.bias)
        return y.relu() if self.relu else y


Row = Conv | MaxPool | Residual | AveragePool | Linear


@dataclass(frozen=True)
class Trace:
    """One forward pass of N pictures. activations[i] is what row i put out, behind its ReLU; x is (N, 3, S, S). Read, never written."""

    x: Tensor
    activations: tuple[Tensor, ...]

    @property
    def logits(self) -> Tensor:
        """(N, C)"""
        return self.activations[-1]

    @property
    def predicted(self) -> int:
        """The class of a single picture."""
        return int(self.logits.argmax())

    def of(self, pictures: Sequence[int]) -> "Trace":
        """Some of the pictures; a single one is not copied."""
        chosen = slice(pictures[0], pictures[0] + 1) if len(pictures) == 1 else list(pictures)
        return Trace(self.x[chosen], tuple(each[chosen] for each in self.activations))


@dataclass(frozen=True)
class Network:
    """A classifier as a table of rows, the same for a whole VGG and a ResNet."""

    rows: tuple[Row, ...]

    @torch.inference_mode()
    def trace(self, x: Tensor) -> Trace:
        """x: (N, 3, S, S), normalised; moved to where the weights are."""
        x = x.to(self.like, memory_format=torch.channels_last)
        return Trace(x, tuple(outputs(self.rows, x)))

    @torch.inference_mode()
    def logits(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, C), keeping no activation."""
        return _last(self.rows, x)

    @property
    def like(self) -> Tensor:
        """A weight, for its device and dtype."""
        return next(row.weight for row in self.rows if isinstance(row, Conv))


def converted(rows: Sequence[Row], dtype: torch.dtype) -> tuple[Row, ...]:
    """The same rows with weights of that precision."""
    return tuple(_converted(row, dtype) for row in rows)


def _converted(row: Row, dtype: torch.dtype) -> Row:
    match row:
        case Conv():
            return replace(
                row,
                weight=row.weight.to(dtype),
                bias=None if row.bias is None else row.bias.to(dtype),
            )
        case Linear():
            return replace(row, weight=row.weight.to(dtype), bias=row.bias.to(dtype))
        case Residual():
            return Residual(converted(row.main, dtype), converted(row.shortcut, dtype))
    return row


def outputs(rows: Iterable[Row], x: Tensor) -> Iterator[Tensor]:
    """What each row puts out, in order."""
    for row in rows:
        x = row(x)
        yield x


def _last(rows: Iterable[Row], x: Tensor) -> Tensor:
    for row in rows:
        x = row(x)
    return x
