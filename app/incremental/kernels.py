"""One layer over a batch of tiles: from the table of rows before it, its outputs."""

from dataclasses import dataclass
from importlib.util import find_spec
from math import inf, prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.incremental import winograd
from app.incremental.windows import Spans
from app.networks.network import Conv, Layer, MaxPool

TRITON = find_spec("triton") is not None  # PyTorch for CPUs may come without
if TRITON:
    from app.incremental import triton_kernels

WINOGRAD_CHANNELS = 32  # with fewer, the transforms cost more than the products they save
GATHER = 64  # products that take as long as moving one number
LARGEST = 32  # side of a direct convolution's tile


LARGE = (
    32 * 2**20
)  # bytes: glibc gives back at once what is larger, and keeps the room of what is smaller; untouched pages cost nothing


class Scratch:
    """Memory by name, kept from layer to layer and chunk to chunk: fresh pages cost more than the arithmetic on them."""

    def __init__(self, like: Tensor) -> None:
        self._like, self._held = like, dict[str, Tensor]()

    def take(self, name: str, *shape: int) -> Tensor:
        """Not initialised, and the same memory each time."""
        size = prod(shape)
        if name not in self._held or self._held[name].numel() < size:
            self._held.pop(name, None)
            self._held[name] = self._like.new_empty(
                size if self._like.is_cuda else max(size, LARGE // self._like.itemsize + 1)
            )
        return self._held[name][:size].view(shape)


def fuses(table: Tensor) -> bool:
    """Whether rows are moved by `triton_kernels` rather than by its twins here."""
    return TRITON and table.is_cuda


def gather(table: Tensor, index: Tensor, scratch: Scratch) -> Tensor:
    """table (., C), index (T, A) -> (T, A, C), valid until the next one."""
    out = scratch.take("gathered", index.numel(), table.shape[1])
    if fuses(table):
        triton_kernels.largest_rows(table, index.view(-1, 1), out)
    else:
        torch.index_select(table, 0, index.flatten(), out=out)
    return out.view(*index.shape, -1)


def gather_largest(table: Tensor, index: Tensor, out: Tensor, scratch: Scratch) -> None:
    """table (., C), index (T, A) -> out (T, C): the largest in each channel of A rows."""
    if fuses(table):
        triton_kernels.largest_rows(table, index, out)
    else:
        torch.amax(gather(table, index, scratch), 1, out=out)


def finish(y: Tensor, layer: Conv, out: Tensor) -> None:
    """out = the layer's activation of y + its bias; y and out (T, side * side, K)."""
    bias, fused = layer.bias, fuses(y)
    if fused:
        lines = y.view(-1, y.shape[-1])
        triton_kernels.biased(lines, bias, out.view(-1, y.shape[-1]), relu=layer.relu)
    elif bias is None:
        out.copy_(y)
    else:
        torch.add(y, bias, out=out)
    if layer.relu and layer.ceiling < inf:
        out.clamp_(0, layer.ceiling)
    elif layer.relu and not fused:
        out.relu_()


@dataclass(frozen=True, eq=False)
class Winograd:
    layer: Conv
    a: Tensor
    b: Tensor
    weight: Tensor

    def side(self, y: Spans, x: Spans) -> int:
        return winograd.SIDE

    def __call__(self, table: Tensor, index: Tensor, out: Tensor, scratch: Scratch) -> None:
        """index: (T, 36) -> out: (T, 16, K)"""
        x = gather(table, index, scratch)
        tiles, points, channels = x.shape
        d = torch.bmm(
            self.b.expand(tiles, -1, -1), x, out=scratch.take("points", tiles, points, channels)
        )
        y = torch.bmm(
            d.transpose(0, 1),
            self.weight,
            out=scratch.take("gathered", points, tiles, out.shape[2]),
        )
        torch.bmm(self.a.expand(tiles, -1, -1), y.transpose(0, 1), out=out)
        finish(out, self.layer, out)


@dataclass(frozen=True, eq=False)
class Direct:
    layer: Conv

    def side(self, y: Spans, x: Spans) -> int:
        """Of the tiles that cost least: large ones compute outputs that nobody needs, small ones read inputs more than once."""

        outputs = len(self.layer.weight) // self.layer.groups  # that read one input channel

        def cost(side: int) -> int:
            reach = (side - 1) * self.layer.stride + self.layer.kernel
            return int(y.tiles(side) @ x.tiles(side)) * (
                (side * self.layer.kernel) ** 2 * outputs + GATHER * reach**2
            )

        return min(range(1, min(LARGEST, int(max(y.sizes.max(), x.sizes.max()))) + 1), key=cost)

    def __call__(self, table: Tensor, index: Tensor, out: Tensor, scratch: Scratch) -> None:
        """index: (T, reach * reach) -> out: (T, side * side, K)"""
        x, weight = gather(table, index, scratch), self.layer.weight
        if self.layer.kernel == 1 and self.layer.groups == 1 and x.shape[1] == out.shape[1]:
            y = out  # each output is computed from one row
            torch.mm(x.view(-1, x.shape[2]), weight.flatten(1).t(), out=out.view(-1, out.shape[2]))
        else:
            reach = round(x.shape[1] ** 0.5)
            maps = x.view(len(x), reach, reach, -1).permute(0, 3, 1, 2)
            y = F.conv2d(maps, weight, None, self.layer.stride, groups=self.layer.groups)
            y = y.permute(0, 2, 3, 1).reshape(out.shape)
        finish(y, self.layer, out)


@dataclass(frozen=True, eq=False)
class Pool:
    layer: MaxPool

    def side(self, y: Spans, x: Spans) -> int:
        return 1

    def __call__(self, table: Tensor, index: Tensor, out: Tensor, scratch: Scratch) -> None:
        """index: (T, kernel * kernel) -> out: (T, 1, C)"""
        gather_largest(table, index, out[:, 0], scratch)


@dataclass(frozen=True, eq=False)
class Identity:
    """A residual block's empty shortcut."""

    layer = MaxPool(kernel=1, stride=1, padding=0)

    def __call__(self, table: Tensor, index: Tensor, out: Tensor, scratch: Scratch) -> None:
        """index: (T, side * side) -> out: (T, side * side, C)"""
        gather_largest(table, index.view(-1, 1), out.view(-1, out.shape[-1]), scratch)


Windowed = Winograd | Direct | Pool


def convolution(layer: Layer) -> Winograd | Direct:
    if not isinstance(layer, Conv):
        raise TypeError(f"a residual block with {type(layer).__name__} is not known")
    weight = layer.weight
    minimal = (
        layer.groups == 1
        and layer.kernel == winograd.KERNEL
        and layer.stride == 1
        and weight.shape[1] >= WINOGRAD_CHANNELS
    )
    if not (
        minimal and weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
    ):
        return Direct(layer)
    a, _, b = (
        torch.from_numpy(np.ascontiguousarray(each)).to(weight) for each in winograd.transforms()
    )
    return Winograd(layer, a, b, winograd.transformed(weight))
