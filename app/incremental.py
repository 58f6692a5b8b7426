"""The logits of one picture with boxes over it, exactly, computing only what the boxes change.

A box changes a window of each activation map, and all around it is the clean trace. So a map of P pictures is kept as a table of rows
(`window.Tiles`): the clean map once, and the pictures' windows cut into tiles. A layer gathers the rows that its tiles of outputs are
computed from, and computes them as one batch, whatever the windows' sizes: at the border, where they are clipped, there are fewer.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from app.kernels import Direct, Identity, Pool, Scratch, Windowed, Winograd, convolution
from app.network import Conv, MaxPool, Network, Residual, Row, Trace, outputs
from app.window import Spans, Tiles

PLANS = 64  # chunks whose indices are kept for the next picture
BUDGET = 256 * 2**20
CHUNK = 1024  # pictures, if their memory is in the budget
FEATURES = 0.25  # of the budget holds what waits for the classifier


Corners = tuple[tuple[int, int], ...]
Heed = Callable[[int], None]


def ignore(boxes: int) -> None:
    """The Heed of who does not want to know."""


@dataclass(frozen=True, eq=False)
class Block:
    """relu(main + shortcut)"""

    main: tuple[Winograd | Direct, ...]
    shortcut: Winograd | Direct | Identity


@dataclass(frozen=True, eq=False)
class Step:
    """One layer over the tiles of a chunk."""

    kernel: Windowed | Identity
    before: Tiles
    tiles: Tiles
    device: torch.device

    @cached_property
    def index(self) -> Tensor:
        """(T, reach * reach): the rows of the table before that each tile is computed from."""
        row = self.kernel.row
        reads = self.tiles.reads(self.before, row.kernel, row.stride, row.padding).reshape(self.tiles.count, -1)
        return torch.from_numpy(reads.astype(np.int32)).to(self.device)

    def room(self, clean: "Clean") -> tuple[int, int, int]:
        """At most so many numbers are taken from the scratch: to gather and multiply, for two tables, and within a block."""
        row = self.kernel.row
        channels = max(row.weight.shape[:2]) if isinstance(row, Conv) else clean.rows.shape[1]
        reach = (self.tiles.side - 1) * row.stride + row.kernel
        return 2 * channels * self.tiles.count * reach**2, 2 * channels * (1 + len(clean.rows) + self.tiles.count * self.tiles.side**2), 0


@dataclass(frozen=True, eq=False)
class Join:
    """A block: its shortcut is computed for the tiles of its main branch, which reaches farther."""

    main: tuple[Step, ...]
    shortcut: Step

    @property
    def tiles(self) -> Tiles:
        return self.main[-1].tiles

    def room(self, clean: "Clean") -> tuple[int, int, int]:
        parts = zip((*self.main, self.shortcut), (*map(Clean, clean.inner), clean, clean), strict=True)
        work, tables, _ = zip(*(step.room(without) for step, without in parts), strict=True)
        return max(work), tables[-1], sum(tables)


@dataclass(frozen=True, eq=False)
class Clean:
    """What a layer puts out without a box, (H * W, K); inner: the same of a block's main branch, but for its last layer."""

    rows: Tensor
    inner: tuple[Tensor, ...] = ()


class Incremental:
    """A network prepared to answer for boxes. Threads may share it; what it remembers of shapes changes no answer."""

    def __init__(self, network: Network, budget: int = BUDGET) -> None:
        """budget: bytes that boxes may take, whatever their number, beside the network, the trace and the answer."""
        self.network = network
        rows = tuple(_local(network.rows))
        self.kernels = tuple(_kernel(row) for row in rows)
        self._classifier = Network(network.rows[len(rows) :])
        self._device, self._budget = network.like.device, budget
        self._plan = lru_cache(PLANS)(self.plan)

    def plan(self, side: int, box: int, corners: Corners) -> tuple[Step | Join, ...]:
        """What is computed for boxes over a side x side picture."""
        return tuple(_steps(self.kernels, _boxes(side, box, corners), self._device))

    @torch.inference_mode()
    def logits(self, trace: Trace, corners: Corners, box: int, colours: Tensor, heed: Heed = ignore) -> Tensor:
        """(P, C) logits with a box at each of P corners (y, x) of the picture, filled with its colour of the (P, 3).

        `heed` is told of every chunk how many boxes it had; what it raises stops the work.
        Raises OutOfMemoryError where the budget does not hold a single box.
        """
        clean, last = _clean(self.kernels, trace), trace.activations[len(self.kernels) - 1]
        group = min(len(corners), max(1, int(FEATURES * self._budget) // last.nbytes))
        features, logits = last.new_empty(group, *_lines(last).shape), []
        for first in range(0, len(corners), group):
            chosen = slice(first, min(first + group, len(corners)))
            filled = features[: chosen.stop - first]
            self._fill(filled, clean, corners[chosen], box, colours[chosen], heed)
            logits.append(self._classifier.logits(filled.transpose(1, 2).reshape(-1, *last.shape[1:])))
        return torch.cat(logits)

    def _fill(self, features: Tensor, clean: tuple[Clean, ...], corners: Corners, box: int, colours: Tensor, heed: Heed) -> None:
        """features: (P, H * W, K), the maps that the classifier reads. Where memory does not suffice, half as many pictures at a time."""
        side, scratch, size, done = round(len(clean[0].rows) ** 0.5), Scratch(features), CHUNK, 0
        while done < len(corners):
            chosen = slice(done, min(done + size, len(corners)))
            steps = self._plan(side, box, corners[chosen])
            try:
                self._check(steps, clean, features)
                table = walk(steps, clean, colours[chosen].repeat_interleave(box * box, 0), scratch)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size, scratch = size // 2, Scratch(features)
            else:
                whole = torch.from_numpy(steps[-1].tiles.whole()).to(table.device)
                torch.index_select(table, 0, whole.flatten(), out=features[chosen].flatten(0, 1))
                heed(chosen.stop - done)
                done = chosen.stop

    def _check(self, steps: tuple[Step | Join, ...], clean: tuple[Clean, ...], features: Tensor) -> None:
        numbers = sum(map(max, zip(*(step.room(without) for step, without in zip(steps, clean[1:], strict=True)), strict=True)))
        needed = features.nbytes + numbers * features.itemsize
        if needed > self._budget:
            raise torch.OutOfMemoryError(f"{needed} bytes are needed and {self._budget} allowed")


def walk(steps: tuple[Step | Join, ...], clean: tuple[Clean, ...], boxes: Tensor, scratch: Scratch) -> Tensor:
    """The table behind the last step. clean: the picture, then what each step puts out without boxes; boxes: (pixels, 3)."""
    table = _table(clean[0].rows, len(boxes), "odd", scratch)
    table[-len(boxes) :] = boxes
    for i, (step, without) in enumerate(zip(steps, clean[1:], strict=True)):
        after = _table(without.rows, step.tiles.count * step.tiles.side**2, ("even", "odd")[i % 2], scratch)
        out = after[len(without.rows) + 1 :]
        match step:
            case Step():
                _compute(step, table, out, scratch)
            case Join():
                _join(step, table, without.inner, out, scratch)
        table = after
    return table


def _join(join: Join, table: Tensor, inner: tuple[Tensor, ...], out: Tensor, scratch: Scratch) -> None:
    branch = table
    for i, (step, clean) in enumerate(zip(join.main, inner, strict=False)):
        after = _table(clean, step.tiles.count * step.tiles.side**2, ("inner even", "inner odd")[i % 2], scratch)
        _compute(step, branch, after[len(clean) + 1 :], scratch)
        branch = after
    _compute(join.main[-1], branch, out, scratch)
    shortcut = scratch.take("shortcut", *out.shape)
    _compute(join.shortcut, table, shortcut, scratch)
    out.add_(shortcut).relu_()


def _compute(step: Step, table: Tensor, out: Tensor, scratch: Scratch) -> None:
    """out: (tiles * side * side, K)"""
    x = torch.index_select(table, 0, step.index.flatten(), out=scratch.take("gathered", step.index.numel(), table.shape[1]))
    step.kernel(x.view(*step.index.shape, -1), out.view(step.tiles.count, -1, out.shape[1]), scratch)


def _table(clean: Tensor, changed: int, name: str, scratch: Scratch) -> Tensor:
    """Room for `changed` rows behind the zeros and the clean map."""
    table = scratch.take(name, 1 + len(clean) + changed, clean.shape[1])
    table[0] = 0
    table[1 : len(clean) + 1] = clean
    return table


def _local(rows: tuple[Row, ...]) -> Iterator[Row]:
    """The rows before the classifier: what they put out depends on a few neighbours, and what lies off the map counts as zero."""
    positive = False  # a padded pool takes its maximum over -inf, which is zero where all else is positive
    for row in rows:
        if not isinstance(row, Conv | MaxPool | Residual) or (isinstance(row, MaxPool) and row.padding and not positive):
            return
        yield row
        positive = row.relu or (positive and isinstance(row, MaxPool))


def _kernel(row: Row) -> Windowed | Block:
    match row:
        case Conv():
            return convolution(row)
        case MaxPool():
            return Pool(row)
        case Residual():
            return Block(tuple(map(convolution, row.main)), convolution(*row.shortcut) if row.shortcut else Identity())
    raise TypeError(f"{type(row).__name__} depends on the whole map")


def _boxes(side: int, box: int, corners: Corners) -> Tiles:
    y, x = np.array(corners).T
    return Tiles(Spans(y, y + box - 1, side), Spans(x, x + box - 1, side), box)


def _steps(kernels: Iterable[Windowed | Block], tiles: Tiles, device: torch.device) -> Iterator[Step | Join]:
    for kernel in kernels:
        step = _join_of(kernel, tiles, device) if isinstance(kernel, Block) else _step(kernel, tiles, device)
        yield step
        tiles = step.tiles


def _step(kernel: Windowed, before: Tiles, device: torch.device) -> Step:
    row = kernel.row
    y, x = (span.through(row.kernel, row.stride, row.padding) for span in (before.y, before.x))
    return Step(kernel, before, Tiles(y, x, kernel.side(y, x)), device)


def _join_of(block: Block, before: Tiles, device: torch.device) -> Join:
    main = [_step(block.main[0], before, device)]
    for kernel in block.main[1:]:
        main.append(_step(kernel, main[-1].tiles, device))
    return Join(tuple(main), Step(block.shortcut, before, main[-1].tiles, device))


def _clean(kernels: Iterable[Windowed | Block], trace: Trace) -> tuple[Clean, ...]:
    """The picture, and what each of the kernels puts out without a box."""
    found, x = [Clean(_lines(trace.x))], trace.x
    for kernel, activation in zip(kernels, trace.activations, strict=False):
        inner = list(outputs((layer.row for layer in kernel.main[:-1]), x)) if isinstance(kernel, Block) else []
        found.append(Clean(_lines(activation), tuple(map(_lines, inner))))
        x = activation
    return tuple(found)


def _lines(activation: Tensor) -> Tensor:
    """(1, K, H, W) -> (H * W, K), without a copy where channels come last."""
    return activation[0].permute(1, 2, 0).flatten(0, 1)
