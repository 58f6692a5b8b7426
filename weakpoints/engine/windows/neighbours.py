"""Operations that read a pixel's neighbours: convolutions, pools, padding.

Each says how far a change reaches, what it costs, and what it computes on a map and on windows that
were cut from a map with all that they read around them.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.engine.spans import Spans

Pair = tuple[int, int]  # y, x


@dataclass(frozen=True)
class Geometry:
    """kernel: with its holes, where it is dilated. before, behind: what the map is padded by.

    behind: negative where the last lines are not read.
    """

    kernel: Pair
    stride: Pair
    before: Pair
    behind: Pair

    def through(self, spans: tuple[Spans, Spans]) -> tuple[Spans, Spans]:
        """The outputs that changed inputs y, x reach."""
        y, x = (
            spans[i].through(
                self.kernel[i], self.stride[i], self.before[i], self.behind[i] - self.before[i]
            )
            for i in range(2)
        )
        return y, x

    @property
    def padding(self) -> list[int]:
        """Left, right, top, bottom, as `F.pad` takes them."""
        (top, left), (bottom, right) = self.before, self.behind
        return [left, max(0, right), top, max(0, bottom)]

    def reads(self, size: Pair) -> Pair:
        """How many inputs so many outputs read, where they are side by side."""
        height, width = ((size[i] - 1) * self.stride[i] + self.kernel[i] for i in range(2))
        return height, width

    @property
    def pixelwise(self) -> bool:
        """Whether an output reads the input in its place alone."""
        return self == Geometry((1, 1), (1, 1), (0, 0), (0, 0))


def geometry(kernel: Pair, stride: Pair, before: Pair, inputs: Pair, outputs: Pair) -> Geometry:
    """Of maps of these sizes: what lies behind follows."""
    behind = [(outputs[i] - 1) * stride[i] + kernel[i] - inputs[i] - before[i] for i in range(2)]
    return Geometry(kernel, stride, before, (behind[0], behind[1]))


class Neighbours(Protocol):
    @property
    def geometry(self) -> Geometry: ...

    @property
    def fill(self) -> float:
        """What the map is padded with."""

    @property
    def products(self) -> int:
        """For a pixel of the output."""

    def on_map(self, x: Tensor) -> Tensor:
        """(N, C, H, W) whole maps -> (N, K, H', W')"""

    def on_windows(self, x: Tensor) -> Tensor:
        """(N, C, h, w) with what lies around them -> (N, K, h', w')"""


@dataclass(frozen=True, eq=False)
class Convolution:
    """weight: (K, C / groups, kernel). matrix: (C, K), of a kernel of one pixel without groups."""

    geometry: Geometry
    weight: Tensor
    bias: Tensor | None
    dilation: Pair
    groups: int
    matrix: Tensor | None
    fill = 0.0

    @property
    def products(self) -> int:
        return self.weight.numel()

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself, into one."""
        return self.groups == len(self.weight) > 1 == self.weight.shape[1]

    def on_map(self, x: Tensor) -> Tensor:
        before, behind = self.geometry.before, self.geometry.behind
        if self.matrix is None and before == behind:
            return self._convolved(x, before)
        return self.on_windows(F.pad(x, self.geometry.padding) if any(before + behind) else x)

    def on_windows(self, x: Tensor) -> Tensor:
        if self.matrix is None:
            return self._convolved(x, (0, 0))
        down, across = self.geometry.stride
        if (down, across) != (1, 1):
            x = x[:, :, ::down, ::across]
        n, c, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, c)
        out = rows @ self.matrix if self.bias is None else self._with_bias(rows)
        return out.view(n, height, width, -1).permute(0, 3, 1, 2)

    def _with_bias(self, rows: Tensor) -> Tensor:
        assert self.matrix is not None
        return torch.addmm(self.bias, rows, self.matrix)  # type: ignore[arg-type]

    def _convolved(self, x: Tensor, padding: Pair) -> Tensor:
        return F.conv2d(
            x, self.weight, self.bias, self.geometry.stride, padding, self.dilation, self.groups
        )


@dataclass(frozen=True, eq=False)
class MaxPool:
    """kernel: without the holes of its dilation."""

    geometry: Geometry
    kernel: Pair
    dilation: Pair
    fill = float("-inf")
    products = 0

    def on_map(self, x: Tensor) -> Tensor:
        padding = self.geometry.padding
        return self.on_windows(F.pad(x, padding, value=self.fill) if any(padding) else x)

    def on_windows(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel, self.geometry.stride, 0, self.dilation)


@dataclass(frozen=True, eq=False)
class AveragePool:
    """Its zeros of padding count."""

    geometry: Geometry
    fill = 0.0
    products = 0

    def on_map(self, x: Tensor) -> Tensor:
        padding = self.geometry.padding
        return self.on_windows(F.pad(x, padding) if any(padding) else x)

    def on_windows(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.geometry.kernel, self.geometry.stride)


@dataclass(frozen=True, eq=False)
class Padding:
    """The map with a rim around it: what lies in a window is only moved."""

    geometry: Geometry
    fill: float
    products = 0

    def on_map(self, x: Tensor) -> Tensor:
        return F.pad(x, self.geometry.padding, value=self.fill)

    def on_windows(self, x: Tensor) -> Tensor:
        return x
