"""What is computed for a chunk of boxes.

Each layer runs over the tiles that the boxes change. All of it is worked out before any arithmetic.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weakpoints.engine.spans import Corners, Products, Spans, Tiles
from weakpoints.engine.tiles.kernels import ConvKernel, Identity, PoolKernel, Windowed, convolution
from weakpoints.networks.network import Conv, Layer, MaxPool, Residual


@dataclass(frozen=True, eq=False)
class ResidualKernels:
    """main + shortcut, and a ReLU behind it if there is one"""

    layer: Residual
    main: tuple[ConvKernel, ...]
    shortcut: ConvKernel | Identity


@dataclass(frozen=True, eq=False)
class CleanLayer:
    """What a layer puts out without a box, (H * W, K).

    inner: the same of a block's main branch, but for its last layer.
    """

    rows: Tensor
    inner: tuple[Tensor, ...] = ()

    @property
    def own_bytes(self) -> int:
        """That are not the trace's."""
        return sum(rows.nbytes for rows in self.inner)


@dataclass(frozen=True, eq=False)
class LayerStep:
    """One layer over the tiles of a chunk."""

    kernel: Windowed | Identity
    before: Tiles
    tiles: Tiles
    device: torch.device

    @cached_property
    def index(self) -> Tensor:
        """(T, reach * reach): the rows of the table before that each tile is computed from."""
        layer = self.kernel.layer
        reads = self.tiles.reads(self.before, layer.kernel, layer.stride, layer.padding)
        reads = reads.reshape(self.tiles.count, -1)
        return torch.from_numpy(reads.astype(np.int32)).to(self.device)

    @property
    def products(self) -> Products:
        """Of the chunk."""
        if not isinstance(self.kernel, ConvKernel):
            return Products()
        tiles, weight = self.tiles, self.kernel.layer.weight.numel()
        return Products(
            tiles.pictures * tiles.y.length * tiles.x.length * weight,
            int(tiles.y.sizes @ tiles.x.sizes) * weight,
            tiles.count * tiles.side**2 * weight,
        )

    def scratch_elements(self, clean: CleanLayer) -> tuple[int, int, int]:
        """At most so many numbers are taken from the scratch.

        Three counts: to gather and multiply, for two tables, and within a block.
        """
        layer = self.kernel.layer
        channels = clean.rows.shape[1]
        if isinstance(layer, Conv):
            channels = max(channels, layer.groups * layer.weight.shape[1])
        reach = (self.tiles.side - 1) * layer.stride + layer.kernel
        return (
            2 * channels * self.tiles.count * reach**2,
            2 * channels * (1 + len(clean.rows) + self.tiles.count * self.tiles.side**2),
            0,
        )


@dataclass(frozen=True, eq=False)
class ResidualStep:
    """A block: its shortcut is computed for the tiles of its main branch, which reaches farther."""

    layer: Residual
    main: tuple[LayerStep, ...]
    shortcut: LayerStep

    @property
    def tiles(self) -> Tiles:
        return self.main[-1].tiles

    @property
    def products(self) -> Products:
        return sum((part.products for part in (*self.main, self.shortcut)), Products())

    def scratch_elements(self, clean: CleanLayer) -> tuple[int, int, int]:
        parts = zip(
            (*self.main, self.shortcut),
            (*map(CleanLayer, clean.inner), clean, clean),
            strict=True,
        )
        work, tables, _ = zip(
            *(step.scratch_elements(without) for step, without in parts), strict=True
        )
        return max(work), tables[-1], sum(tables)


@dataclass(frozen=True, eq=False)
class Plan:
    """The layers in turn.

    `whole` (P * H * W,) are the rows of the last table that make up each picture's whole map.
    """

    steps: tuple[LayerStep | ResidualStep, ...]
    device: torch.device
    pixels: int  # of a box
    changed = None  # where maps differ, not told: a GPU multiplies whole maps faster than cells

    @cached_property
    def whole(self) -> Tensor:
        return (
            torch.from_numpy(self.steps[-1].tiles.whole().astype(np.int32))
            .to(self.device)
            .flatten()
        )

    @property
    def products(self) -> Products:
        """Of all steps."""
        return sum((step.products for step in self.steps), Products())

    def scratch_elements(self, clean: tuple[CleanLayer, ...]) -> int:
        """At most so many numbers are taken from the scratch.

        clean: the picture, and what each step puts out without a box.
        """
        needs = (
            step.scratch_elements(without)
            for step, without in zip(self.steps, clean[1:], strict=True)
        )
        return sum(map(max, zip(*needs, strict=True)))


def plan_of(
    kernels: Iterable[Windowed | ResidualKernels],
    side: int,
    box: int,
    corners: Corners,
    device: torch.device,
) -> Plan:
    """For boxes over a side x side picture, their corners (y, x)."""
    y, x = np.array(corners).T
    boxes = Tiles(Spans(y, y + box - 1, side), Spans(x, x + box - 1, side), box)
    return Plan(tuple(_steps(kernels, boxes, device)), device, box * box)


def local(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    """The layers before the classifier.

    What they put out depends on a few neighbours, and what lies off the map counts as zero.
    """
    positive = (
        False  # a padded pool takes its maximum over -inf, which is zero where all else is positive
    )
    for layer in layers:
        if not isinstance(layer, Conv | MaxPool | Residual) or (
            isinstance(layer, MaxPool) and layer.padding and not positive
        ):
            return
        yield layer
        positive = layer.relu or (positive and isinstance(layer, MaxPool))


def kernel(layer: Layer) -> Windowed | ResidualKernels:
    match layer:
        case Conv():
            return convolution(layer)
        case MaxPool():
            return PoolKernel(layer)
        case Residual():
            return ResidualKernels(
                layer,
                tuple(map(convolution, layer.main)),
                convolution(*layer.shortcut) if layer.shortcut else Identity(),
            )
    raise TypeError(f"{type(layer).__name__} depends on the whole map")


def _steps(
    kernels: Iterable[Windowed | ResidualKernels], tiles: Tiles, device: torch.device
) -> Iterator[LayerStep | ResidualStep]:
    for kernel in kernels:
        step = (
            _join(kernel, tiles, device)
            if isinstance(kernel, ResidualKernels)
            else _step(kernel, tiles, device)
        )
        yield step
        tiles = step.tiles


def _step(kernel: Windowed, before: Tiles, device: torch.device) -> LayerStep:
    layer = kernel.layer
    y, x = (
        span.through(layer.kernel, layer.stride, layer.padding, layer.extra)
        for span in (before.y, before.x)
    )
    return LayerStep(kernel, before, Tiles(y, x, kernel.side(y, x)), device)


def _join(block: ResidualKernels, before: Tiles, device: torch.device) -> ResidualStep:
    main = [_step(block.main[0], before, device)]
    for kernel in block.main[1:]:
        main.append(_step(kernel, main[-1].tiles, device))
    return ResidualStep(
        block.layer, tuple(main), LayerStep(block.shortcut, before, main[-1].tiles, device)
    )
