"""One layer over a batch of tiles: what was gathered for each tile in, its outputs out."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app import winograd
from app.network import Conv, MaxPool, Row
from app.window import Spans

WINOGRAD_CHANNELS = 32  # with fewer, the transforms cost more than the products they save
GATHER = 64  # products that take as long as moving one number
LARGEST = 32  # side of a direct convolution's tile


class Scratch:
    """Memory by name, kept from layer to layer and chunk to chunk: fresh pages cost more than the arithmetic on them."""

    def __init__(self, like: Tensor) -> None:
        self._like, self._held = like, dict[str, Tensor]()

    def take(self, name: str, *shape: int) -> Tensor:
        """Not initialised, and the same memory each time."""
        size = prod(shape)
        if name not in self._held or self._held[name].numel() < size:
            self._held.pop(name, None)
            self._held[name] = self._like.new_empty(size)
        return self._held[name][:size].view(shape)


@dataclass(frozen=True, eq=False)
class Winograd:
    row: Conv
    a: Tensor
    b: Tensor
    weight: Tensor

    def side(self, y: Spans, x: Spans) -> int:
        return winograd.SIDE

    def __call__(self, x: Tensor, out: Tensor, scratch: Scratch) -> None:
        """x: (T, 36, C) -> out: (T, 16, K)"""
        tiles, points, channels = x.shape
        d = torch.bmm(self.b.expand(tiles, -1, -1), x, out=scratch.take("points", tiles, points, channels))
        y = torch.bmm(d.transpose(0, 1), self.weight, out=scratch.take("gathered", points, tiles, out.shape[2]))
        torch.bmm(self.a.expand(tiles, -1, -1), y.transpose(0, 1), out=out)
        if self.row.bias is not None:
            out += self.row.bias
        if self.row.relu:
            out.relu_()


@dataclass(frozen=True, eq=False)
class Direct:
    row: Conv

    def side(self, y: Spans, x: Spans) -> int:
        """Of the tiles that cost least: large ones compute outputs that nobody needs, small ones read inputs more than once."""

        def cost(side: int) -> int:
            reach = (side - 1) * self.row.stride + self.row.kernel
            return int(y.tiles(side) @ x.tiles(side)) * ((side * self.row.kernel) ** 2 * len(self.row.weight) + GATHER * reach**2)

        return min(range(1, min(LARGEST, int(max(y.sizes.max(), x.sizes.max()))) + 1), key=cost)

    def __call__(self, x: Tensor, out: Tensor, scratch: Scratch) -> None:
        """x: (T, reach * reach, C) -> out: (T, side * side, K)"""
        if x.shape[1] == 1:
            y = F.linear(x, self.row.weight.flatten(1), self.row.bias)
        else:
            reach = round(x.shape[1] ** 0.5)
            maps = x.view(len(x), reach, reach, -1).permute(0, 3, 1, 2)
            y = F.conv2d(maps, self.row.weight, self.row.bias, self.row.stride).permute(0, 2, 3, 1).reshape(out.shape)
        if self.row.relu:
            torch.clamp(y, min=0, out=out)
        else:
            out.copy_(y)


@dataclass(frozen=True, eq=False)
class Pool:
    row: MaxPool

    def side(self, y: Spans, x: Spans) -> int:
        return 1

    def __call__(self, x: Tensor, out: Tensor, scratch: Scratch) -> None:
        """x: (T, kernel * kernel, C) -> out: (T, 1, C)"""
        torch.amax(x, 1, keepdim=True, out=out)


@dataclass(frozen=True, eq=False)
class Identity:
    """A residual block's empty shortcut."""

    row = MaxPool(kernel=1, stride=1, padding=0)

    def __call__(self, x: Tensor, out: Tensor, scratch: Scratch) -> None:
        out.copy_(x.view(out.shape))


Windowed = Winograd | Direct | Pool


def convolution(row: Row) -> Winograd | Direct:
    if not isinstance(row, Conv):
        raise TypeError(f"a residual block with {type(row).__name__} is not known")
    weight = row.weight
    minimal = row.kernel == winograd.KERNEL and row.stride == 1 and weight.shape[1] >= WINOGRAD_CHANNELS
    if not (minimal and weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)):
        return Direct(row)
    a, _, b = (torch.from_numpy(np.ascontiguousarray(each)).to(weight) for each in winograd.transforms())
    return Winograd(row, a, b, winograd.transformed(weight))
