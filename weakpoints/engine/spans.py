"""Integer arithmetic of what a change reaches.

How a window of pixels grows through a layer, and where its pixels are kept.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Corners = tuple[tuple[int, int], ...]  # (y, x) of boxes


@dataclass(frozen=True)
class Products:
    """Multiplications: of full passes, of what the form of windows needs, of what is computed."""

    full: int = 0
    windows: int = 0
    computed: int = 0

    def __add__(self, other: "Products") -> "Products":
        return Products(
            self.full + other.full, self.windows + other.windows, self.computed + other.computed
        )


@dataclass(frozen=True)
class Spans:
    """For each of P pictures, the pixels of an axis that may have changed.

    They are first..last, inclusive, (P,) each. The axis has `length` pixels.
    """

    first: Integers
    last: Integers
    length: int

    def through(self, kernel: int, stride: int, padding: int, extra: int = 0) -> "Spans":
        """The outputs whose kernels meet the span, clipped to the map.

        Where none does, one output at the rim.

        padding: pixels off the map on both sides.
        extra: further ones behind it only.
        """
        length = (self.length + 2 * padding + extra - kernel) // stride + 1
        first = -(
            (kernel - 1 - padding - self.first) // stride
        )  # the ceiling of (first + padding - kernel + 1) / stride
        last = (self.last + padding) // stride
        first = np.clip(first, 0, length - 1)
        return Spans(first, np.clip(last, first, length - 1), length)

    @property
    def sizes(self) -> Integers:
        """(P,)"""
        return self.last - self.first + 1

    def tiles(self, side: int) -> Integers:
        """(P,): how many tiles of `side` pixels cover each span; the last may overhang."""
        return -(-self.sizes // side)


@dataclass(frozen=True)
class Tiles:
    """The windows y by x of P pictures.

    Each window is cut from its top left corner into tiles of side x side pixels. The tiles say
    where pixels lie in a table of rows, a row holding a pixel's channels. Row 0 is zero, for what
    lies off the map. Then come the pixels of the clean map, line by line. Then come the tiles,
    picture by picture, each line by line.
    """

    y: Spans
    x: Spans
    side: int

    @cached_property
    def counts(self) -> Integers:
        """(P,): tiles of each picture."""
        return self.y.tiles(self.side) * self.x.tiles(self.side)

    @cached_property
    def start(self) -> Integers:
        """(P,): the first tile of each picture."""
        return np.cumsum(self.counts) - self.counts

    @property
    def pictures(self) -> int:
        return len(self.counts)

    @property
    def pixels(self) -> int:
        """Of one clean map."""
        return self.y.length * self.x.length

    @cached_property
    def count(self) -> int:
        """Of all the tiles."""
        return int(self.counts.sum())

    def reads(self, before: "Tiles", kernel: int, stride: int, padding: int) -> Integers:
        """(count, reach, reach): the rows of `before` that each tile of outputs is computed from.

        They are rows of its table, top to bottom, left to right.
        """
        picture = np.repeat(np.arange(self.pictures), self.counts)
        down, across = np.divmod(
            np.arange(self.count) - self.start[picture], self.x.tiles(self.side)[picture]
        )
        reach = np.arange((self.side - 1) * stride + kernel) - padding
        y = (self.y.first[picture] + down * self.side)[:, None] * stride + reach
        x = (self.x.first[picture] + across * self.side)[:, None] * stride + reach
        return before.rows(picture[:, None, None], y[:, :, None], x[:, None, :])

    def whole(self) -> Integers:
        """(P, H, W): the rows of each picture's whole map."""
        return self.rows(
            np.arange(self.pictures)[:, None, None],
            np.arange(self.y.length)[:, None],
            np.arange(self.x.length),
        )

    def rows(self, picture: Integers, y: Integers, x: Integers) -> Integers:
        """Where pixels (y, x) of pictures lie, broadcast."""
        down, y_in_tile = np.divmod(y - self.y.first[picture], self.side)
        across, x_in_tile = np.divmod(x - self.x.first[picture], self.side)
        tile = self.start[picture] + down * self.x.tiles(self.side)[picture] + across
        changed = 1 + self.pixels + (tile * self.side + y_in_tile) * self.side + x_in_tile
        clean = 1 + y * self.x.length + x
        on_map = (y >= 0) & (y < self.y.length) & (x >= 0) & (x < self.x.length)
        inside = (
            (y >= self.y.first[picture])
            & (y <= self.y.last[picture])
            & (x >= self.x.first[picture])
            & (x <= self.x.last[picture])
        )
        return np.asarray(np.where(inside, changed, np.where(on_map, clean, 0)))
