"""Where the changes that boxes make are kept: for each picture and layer one window of them.

A table of changes (1 + pixels, C) has a row for each pixel and a column for each channel:

    row 0                zeros, for every pixel that no box changes
    1 + start[0] ...     the window of picture 0, line by line
    1 + start[1] ...     the window of picture 1, ...

Windows at the border of the map are clipped, so their sizes differ.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from weakpoints.engine.changes import winograd
from weakpoints.engine.spans import Integers, Products, Spans
from weakpoints.networks.network import MaxPool

PRODUCT_BYTES = (
    32 * 2**20
)  # bytes of products at once, whatever the chunk: as much as a level-3 cache holds


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows y by x of P pictures."""

    y: Spans
    x: Spans

    @cached_property
    def sizes(self) -> Integers:
        """(P,): pixels of each window."""
        return self.y.sizes * self.x.sizes

    @cached_property
    def start(self) -> Integers:
        """(P + 1,): the first row of each window, not counting the zeros, and the end."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @property
    def pictures(self) -> int:
        return len(self.sizes)

    @property
    def count(self) -> int:
        """Pixels of all windows."""
        return int(self.start[-1])

    @cached_property
    def table(self) -> Integers:
        """(P, 5): start, height, width, the pixel of the whole map under the first row, map width.

        One row a picture.
        """
        under = self.y.first * self.x.length + self.x.first
        width = np.full(self.pictures, self.x.length)
        return np.stack([self.start[:-1], self.y.sizes, self.x.sizes, under, width], 1)

    @cached_property
    def pixels(self) -> tuple[Integers, Integers, Integers]:
        """(count,) each: picture, y and x of every row."""
        picture = np.repeat(np.arange(self.pictures), self.sizes)
        down, across = np.divmod(np.arange(self.count) - self.start[picture], self.x.sizes[picture])
        return picture, self.y.first[picture] + down, self.x.first[picture] + across

    @cached_property
    def map_index(self) -> Integers:
        """(count,): the pixel of the whole map under every row."""
        _, y, x = self.pixels
        return y * self.x.length + x

    def rows(self, picture: Integers, y: Integers, x: Integers) -> Integers:
        """The rows of a table that hold pixels (y, x), broadcast; 0 outside the windows."""
        down, across = y - self.y.first[picture], x - self.x.first[picture]
        width = self.x.sizes[picture]
        inside = (down >= 0) & (across >= 0) & (across < width) & (down < self.y.sizes[picture])
        return np.asarray(np.where(inside, 1 + self.start[picture] + down * width + across, 0))

    def reads(self, before: "Windows", kernel: int, stride: int, padding: int) -> Integers:
        """(count, kernel * kernel): the rows before that each pixel is computed from."""
        picture, y, x = self.pixels
        reach = np.arange(kernel) - padding
        down, across = y[:, None] * stride + reach, x[:, None] * stride + reach
        rows = before.rows(picture[:, None, None], down[:, :, None], across[:, None, :])
        return rows.reshape(self.count, -1)


@dataclass(frozen=True, eq=False)
class Blocks:
    """The windows of some pictures, cut into blocks, for a 3x3 convolution by `winograd`.

    table (B, 7): the picture, counted from the first; the first row before and the width of its
    window; where the outputs begin in the window after the layer, down and across; inputs down
    and across.
    rows (B, 7, 7): the row of each block's product at each point, -1 at points it does not need.
    ends (7, 7): the rows of one point follow each other, those of the next behind them; where
    they end.
    windows: rows of `Windows.table`, after the layer.
    """

    table: Integers
    rows: Integers
    ends: Integers
    windows: Integers

    @property
    def count(self) -> int:
        """Products, each a row of all channels."""
        return int(self.ends[-1, -1])


def cut(before: Windows, after: Windows, padding: int, row_bytes: int) -> tuple[Blocks, ...]:
    """Blocks of as many pictures at a time as PRODUCT_BYTES holds; row_bytes: of a product."""
    pieces = [_pieces(before, after, padding, p) for p in range(before.pictures)]
    products = np.array([int(((p[:, 5] + 2) * (p[:, 6] + 2)).sum()) for p in pieces])
    share = (np.cumsum(products) - products) * row_bytes // PRODUCT_BYTES
    ends = [0, *(np.flatnonzero(np.diff(share)) + 1).tolist(), len(pieces)]
    return tuple(
        _blocks(np.concatenate(pieces[first:end]), after.table[first:end], first)
        for first, end in pairwise(ends)
    )


def _pieces(before: Windows, after: Windows, padding: int, p: int) -> Integers:
    """The rows of `Blocks.table` of one picture."""
    start, height, width = before.table[p, :3].tolist()
    edge = winograd.KERNEL - 1 - padding
    top = int(before.y.first[p] - after.y.first[p]) - edge
    left = int(before.x.first[p] - after.x.first[p]) - edge
    blocks, down = [], 0
    for high in winograd.sizes(height):
        across = 0
        for wide in winograd.sizes(width):
            row = 1 + start + down * width + across
            blocks.append((p, row, width, top + down, left + across, high, wide))
            across += wide
        down += high
    return np.array(blocks)


def _blocks(table: Integers, windows: Integers, first: int) -> Blocks:
    """Ordered by points, so that each kernel is multiplied by all blocks at once."""
    points = np.arange(winograd.LARGEST + winograd.KERNEL - 1)
    down, across = (points < size[:, None] + 2 for size in table.T[5:7])
    needed = down[:, :, None] & across[:, None, :]
    ends = np.cumsum(needed.sum(0)).reshape(needed.shape[1:])
    rank = np.cumsum(needed, 0) - needed.sum(0) - 1
    table[:, 0] -= first
    return Blocks(table, np.where(needed, ends + rank, -1), ends, windows)


@dataclass(frozen=True, eq=False)
class PoolStep:
    """A max-pool over the windows of a chunk."""

    layer: MaxPool
    before: Windows
    after: Windows
    products, scratch_elements = Products(), 0
