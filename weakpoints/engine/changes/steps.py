"""One layer, or one residual block, over the windows of changes of a chunk of boxes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weakpoints.engine.changes import loops, winograd
from weakpoints.engine.changes.windows import Blocks, Windows, cut
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.spans import Products
from weakpoints.networks.network import Conv, Residual

WINOGRAD_CHANNELS = 32  # with fewer, the transforms cost more than the products they save


@dataclass(frozen=True, eq=False)
class ConvWeights:
    """A convolution of changes. weight: (7, 7, C, K) by blocks, else (groups, k * k * C, K), with
    the channels of one group.
    """

    layer: Conv
    weight: Tensor
    uses_winograd: bool


def conv_weights(layer: Conv) -> ConvWeights:
    """The form of a convolution that was measured to be the fastest."""
    weight, k = layer.weight, layer.kernel
    if (k, layer.stride, layer.groups) == (winograd.KERNEL, 1, 1) and weight.shape[
        1
    ] >= WINOGRAD_CHANNELS:
        return ConvWeights(layer, winograd.transformed(weight), uses_winograd=True)
    apart = weight.view(layer.groups, -1, *weight.shape[1:]).permute(0, 3, 4, 2, 1)
    return ConvWeights(layer, apart.flatten(1, 3).contiguous(), uses_winograd=False)


@dataclass(frozen=True, eq=False)
class ConvStep:
    """The linear part of a convolution over the windows of a chunk."""

    weights: ConvWeights
    before: Windows
    after: Windows

    @property
    def layer(self) -> Conv:
        return self.weights.layer

    @property
    def channels(self) -> tuple[int, int]:
        """Of the input and of the output."""
        return self.layer.groups * self.layer.weight.shape[1], len(self.layer.weight)

    @cached_property
    def blocks(self) -> tuple[Blocks, ...]:
        row_bytes = max(self.channels) * self.weights.weight.itemsize
        return cut(self.before, self.after, self.layer.padding, row_bytes)

    @cached_property
    def in_place_offsets(self) -> tuple[int, ...]:
        """How many numbers after the products the evaluated inputs of each of `blocks` begin.

        Products are written over inputs that were read already:

            memory   | products of points 0 .. i |  unread inputs of points i + 1 ...  |
                     0                           ^ must end before the inputs of point i + 1 begin

        A product row has K numbers, an input row C. Where K > C, products catch up with inputs, so
        inputs begin that much later.
        """
        inputs, channels = self.channels
        starts = (np.r_[0, part.ends.flat[:-1]] for part in self.blocks)
        return tuple(
            int((part.ends.ravel() * channels - start * inputs).max())
            for part, start in zip(self.blocks, starts, strict=True)
        )

    @cached_property
    def index(self) -> Tensor:
        """(pixels, k * k): the rows of the table before that each pixel is computed from."""
        layer = self.layer
        reads = self.after.reads(self.before, layer.kernel, layer.stride, layer.padding)
        return torch.from_numpy(reads.astype(np.int32))

    @property
    def products(self) -> Products:
        """Of the chunk. By blocks, each changed input is multiplied by every weight, else each
        changed output needs every weight.
        """
        weight = self.layer.weight.numel()
        full = self.after.pictures * self.after.y.length * self.after.x.length * weight
        if not self.weights.uses_winograd:
            return Products(full, self.after.count * weight, self.after.count * weight)
        inputs, channels = self.channels
        computed = sum(part.count for part in self.blocks) * inputs * channels
        return Products(full, self.before.count * weight, computed)

    @property
    def scratch_elements(self) -> int:
        """At most so many numbers are taken from the scratch."""
        if self.weights.uses_winograd:
            inputs, _ = self.channels
            needs = zip(self.blocks, self.in_place_offsets, strict=True)
            return max(gap + part.count * inputs for part, gap in needs)
        gathered = self.after.count * self.layer.kernel**2 * self.channels[0]
        return gathered * (2 if self.layer.groups > 1 else 1)

    def __call__(self, table: Tensor, out: Tensor, scratch: Scratch) -> None:
        """table (1 + ., C) -> out (pixels, K)"""
        if self.weights.uses_winograd:
            for part, gap in zip(self.blocks, self.in_place_offsets, strict=True):
                self._add(part, gap, table, out, scratch)
        else:
            self._multiply(table, out, scratch)

    def _add(self, part: Blocks, gap: int, table: Tensor, out: Tensor, scratch: Scratch) -> None:
        inputs, channels = self.channels
        room = scratch.take("points", gap + part.count * inputs)
        points = room[gap:].view(part.count, inputs)
        products = room[: part.count * channels].view(part.count, channels)
        loops.evaluate(table, part, points)
        start = 0
        for kernel, end in zip(
            self.weights.weight.flatten(0, 1), part.ends.ravel().tolist(), strict=True
        ):
            torch.mm(points[start:end], kernel, out=products[start:end])
            start = end
        loops.interpolate(products, part, out)

    def _multiply(self, table: Tensor, out: Tensor, scratch: Scratch) -> None:
        weight, groups, among = self.weights.weight, self.layer.groups, self.layer.kernel**2
        inputs, channels = self.channels
        x = scratch.take("points", len(out) * among, inputs)
        torch.index_select(table, 0, self.index.flatten(), out=x)
        if groups == 1:
            torch.mm(x.view(len(out), -1), weight[0], out=out)
        elif groups == inputs == channels:
            torch.sum(x.view(-1, among, inputs).mul_(weight[..., 0].t()), 1, out=out)
        else:
            apart = scratch.take("products", groups, len(out), among * inputs // groups)
            together = x.view(len(out), among, groups, -1).permute(2, 0, 1, 3)
            apart.view(groups, len(out), among, -1).copy_(together)
            for i, part in enumerate(out.view(len(out), groups, -1).unbind(1)):
                part.copy_(apart[i] @ weight[i])


@dataclass(frozen=True, eq=False)
class ResidualStep:
    """A residual block; its shortcut is computed for the windows of its main branch, which are the
    larger ones. shortcut: None where it is the identity.
    """

    layer: Residual
    main: tuple[ConvStep, ...]
    shortcut: ConvStep | None
    before: Windows

    @property
    def after(self) -> Windows:
        return self.main[-1].after

    @cached_property
    def index(self) -> Tensor:
        """(pixels,): the rows before that an identity adds."""
        return torch.from_numpy(self.after.reads(self.before, 1, 1, 0)[:, 0].astype(np.int32))

    @property
    def parts(self) -> tuple[ConvStep, ...]:
        return self.main if self.shortcut is None else (*self.main, self.shortcut)

    @property
    def products(self) -> Products:
        return sum((part.products for part in self.parts), Products())

    @property
    def scratch_elements(self) -> int:
        """Within: what a convolution takes, two tables of the main branch, and the shortcut."""
        tables = sorted((1 + part.after.count) * part.channels[1] for part in self.main)
        return max(part.scratch_elements for part in self.parts) + sum(tables[-2:]) + tables[-1]
