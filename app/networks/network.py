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

    main: tuple["Layer", ...]
    shortcut: tuple["Layer", ...]
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


Layer = Conv | MaxPool | Residual | AveragePool | Linear


@dataclass(frozen=True)
class Trace:
    """One forward pass of N pictures. activations[i] is what layer i put out, behind its ReLU; x is (N, 3, S, S). Read, never written."""

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

    @property
    def ranking(self) -> list[int]:
        """The classes of a single picture, the most probable first; equal ones in their order."""
        classes: list[int] = self.logits[0].argsort(descending=True, stable=True).tolist()
        return classes

    def of(self, pictures: Sequence[int]) -> "Trace":
        """Some of the pictures; a single one is not copied."""
        chosen = slice(pictures[0], pictures[0] + 1) if len(pictures) == 1 else list(pictures)
        return Trace(self.x[chosen], tuple(each[chosen] for each in self.activations))


@dataclass(frozen=True)
class Network:
    """A classifier as a table of layers, the same for a whole VGG and a ResNet."""

    layers: tuple[Layer, ...]

    @torch.inference_mode()
    def trace(self, x: Tensor) -> Trace:
        """x: (N, 3, S, S), normalised; moved to where the weights are."""
        x = x.to(self.like, memory_format=torch.channels_last)
        return Trace(x, tuple(outputs(self.layers, x)))

    @torch.inference_mode()
    def logits(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, C), keeping no activation."""
        return _last(self.layers, x)

    @property
    def like(self) -> Tensor:
        """A weight, for its device and dtype."""
        return next(layer.weight for layer in self.layers if isinstance(layer, Conv))


def converted(layers: Sequence[Layer], dtype: torch.dtype) -> tuple[Layer, ...]:
    """The same layers with weights of that precision."""
    return tuple(_converted(layer, dtype) for layer in layers)


def _converted(layer: Layer, dtype: torch.dtype) -> Layer:
    match layer:
        case Conv():
            return replace(
                layer,
                weight=layer.weight.to(dtype),
                bias=None if layer.bias is None else layer.bias.to(dtype),
            )
        case Linear():
            return replace(layer, weight=layer.weight.to(dtype), bias=layer.bias.to(dtype))
        case Residual():
            return Residual(converted(layer.main, dtype), converted(layer.shortcut, dtype))
    return layer


def outputs(layers: Iterable[Layer], x: Tensor) -> Iterator[Tensor]:
    """What each layer puts out, in order."""
    for layer in layers:
        x = layer(x)
        yield x


def _last(layers: Iterable[Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x
