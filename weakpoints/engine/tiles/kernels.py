"""One layer over a batch of tiles: from the table of rows before it, its outputs."""

from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.engine.scratch import Scratch
from weakpoints.engine.spans import Spans
from weakpoints.networks.network import Conv, Layer, MaxPool

TRITON = find_spec("triton") is not None  # PyTorch for CPUs may come without

GATHER = 64  # products that take as long as moving one number
LARGEST = 32  # side of a direct convolution's tile


def triton_kernels() -> Any:
    """The module `triton_kernels`, at its first use: a CPU needs none of it."""
    from weakpoints.engine.tiles import triton_kernels

    return triton_kernels


def fuses(table: Tensor, scratch: Scratch) -> bool:
    """Whether rows are moved by `triton_kernels` rather than by its twins here."""
    return TRITON and scratch.triton and table.is_cuda


def gather(table: Tensor, index: Tensor, scratch: Scratch) -> Tensor:
    """table (., C), index (T, A) -> (T, A, C), valid until the next one."""
    out = scratch.take("gathered", index.numel(), table.shape[1])
    if fuses(table, scratch):
        triton_kernels().largest_rows(table, index.view(-1, 1), out)
    else:
        torch.index_select(table, 0, index.flatten(), out=out)
    return out.view(*index.shape, -1)


def gather_largest(table: Tensor, index: Tensor, out: Tensor, scratch: Scratch) -> None:
    """table (., C), index (T, A) -> out (T, C): the largest in each channel of A rows."""
    if fuses(table, scratch):
        triton_kernels().largest_rows(table, index, out)
    else:
        torch.amax(gather(table, index, scratch), 1, out=out)


def finish(y: Tensor, layer: Conv, out: Tensor, scratch: Scratch) -> None:
    """out = the layer's activation of y + its bias; y and out (T, side * side, K)."""
    bias, fused = layer.bias, fuses(y, scratch)
    if fused:
        lines = y.view(-1, y.shape[-1])
        triton_kernels().biased(lines, bias, out.view(-1, y.shape[-1]), relu=layer.relu)
    elif bias is None:
        out.copy_(y)
    else:
        torch.add(y, bias, out=out)
    if layer.relu and layer.ceiling < inf:
        out.clamp_(0, layer.ceiling)
    elif layer.relu and not fused:
        out.relu_()


@dataclass(frozen=True, eq=False)
class ConvKernel:
    layer: Conv

    def side(self, y: Spans, x: Spans) -> int:
        """The side of the tiles that cost least.

        Large tiles compute outputs that nobody needs. Small ones read inputs more than once.
        """

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
        finish(y, self.layer, out, scratch)


@dataclass(frozen=True, eq=False)
class PoolKernel:
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


Windowed = ConvKernel | PoolKernel


def convolution(layer: Layer) -> ConvKernel:
    if not isinstance(layer, Conv):
        raise TypeError(f"a residual block with {type(layer).__name__} is not known")
    return ConvKernel(layer)
