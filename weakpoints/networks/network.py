"""The layer table of a convolutional classifier, built once.

The forward pass, the occlusion (`engine/`) and the walk back (`method/guided.py`) read it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.networks.graph.segment import Segment


@dataclass(frozen=True)
class Conv:
    """Convolution with batch-norm folded in, and the activation behind it if there is one.

    weight: (K, C / groups, k, k); with as many groups as channels it is depthwise.
    padding: zeros on each side of both axes; extra: further zeros at the bottom and at the right
    only, as TensorFlow's SAME needs them at stride 2.
    relu: whether negative outputs become zero; ceiling: what larger outputs become (ReLU6: 6).
    """

    weight: Tensor
    bias: Tensor | None
    stride: int
    padding: int
    relu: bool
    ceiling: float = inf
    groups: int = 1
    extra: int = 0

    @property
    def kernel(self) -> int:
        return self.weight.shape[-1]

    def __call__(self, x: Tensor) -> Tensor:
        if self.extra:
            x = F.pad(x, (0, self.extra, 0, self.extra))
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        return activated(y, self)


@dataclass(frozen=True)
class MaxPool:
    kernel: int
    stride: int
    padding: int
    relu = False
    ceiling = inf
    extra = 0

    def __call__(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel, self.stride, self.padding)


@dataclass(frozen=True)
class Residual:
    """main(x) + shortcut(x); an empty shortcut is the identity.

    relu: whether a ReLU follows the sum, as in a ResNet; behind an inverted residual none does.
    """

    main: tuple["Layer", ...]
    shortcut: tuple["Layer", ...]
    relu: bool
    ceiling = inf

    def __call__(self, x: Tensor) -> Tensor:
        return activated(_last(self.main, x) + _last(self.shortcut, x), self)


@dataclass(frozen=True)
class AveragePool:
    """Adaptive: always `side` x `side` out."""

    side: int
    relu = False
    ceiling = inf

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[2:] == (self.side, self.side):
            return x
        return F.adaptive_avg_pool2d(x, self.side)


@dataclass(frozen=True)
class Linear:
    """On the flattened input, in the precision of its own weights.

    weight: (N, H * W * K), a map's cells one after the other, as they lie in memory.
    """

    weight: Tensor
    bias: Tensor
    relu: bool
    ceiling = inf

    def __call__(self, x: Tensor) -> Tensor:
        cells = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
        flat = cells.flatten(1).to(self.weight.dtype)
        return activated(F.linear(flat, self.weight, self.bias), self)


Layer = Conv | MaxPool | Residual | AveragePool | Linear | Segment


def activated(y: Tensor, layer: Layer) -> Tensor:
    """The layer's activation of y, the output of its linear part."""
    if not layer.relu:
        return y
    return y.clamp(0, layer.ceiling) if layer.ceiling < inf else y.relu()


def passing(after: Tensor, layer: Layer) -> Tensor:
    """Where the activation's derivative is 1 and not 0; after: the activation's output."""
    return (after > 0) & (after < layer.ceiling) if layer.ceiling < inf else after > 0


@dataclass(frozen=True)
class Trace:
    """One forward pass of N pictures: x (N, 3, S, S) and activations[i], the output of layer i.

    Never written to.
    """

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
        return Trace(self.x[chosen], tuple(layer[chosen] for layer in self.activations))


@dataclass(frozen=True)
class Network:
    """A classifier as a table of layers."""

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
        for layer in self.layers:
            if isinstance(layer, Conv | Linear):
                return layer.weight
            if isinstance(layer, Segment) and layer.tensors:
                return next(t for t in layer.tensors.values() if t.is_floating_point())
        raise ValueError("a network without weights")


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
        case Segment():
            return replace(
                layer,
                tensors={
                    name: tensor.to(dtype) if tensor.is_floating_point() else tensor
                    for name, tensor in layer.tensors.items()
                },
            )
        case Residual():
            return replace(
                layer,
                main=converted(layer.main, dtype),
                shortcut=converted(layer.shortcut, dtype),
            )
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
