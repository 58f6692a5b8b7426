"""Windows cut from maps: what changed, with the clean map's pixels around it.

A map lies as rows, a pixel's channels in each. A window that a box changed is put into a larger one
that is cut from the clean map, or into the whole of it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from weakpoints.engine.windows.layouts import Layout

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Area:
    """Windows of one size on P maps: the first pixels y, x (P,) each."""

    y: Integers
    x: Integers
    height: int
    width: int

    def same(self, other: "Area") -> bool:
        return (self.height, self.width) == (other.height, other.width) and bool(
            (self.y == other.y).all() and (self.x == other.x).all()
        )


class Map(NamedTuple):
    """A clean map that is kept: of which value, with left, right, top, bottom rows of `fill`."""

    value: str
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    fill: float = 0.0


@dataclass(frozen=True, eq=False)
class Cut:
    """source: the map. first: (P,) rows of it where the windows begin; width: of the map.

    inside: (P,) rows of the new windows where the changed ones begin; where some of these lie
    partly outside, `kept` and `to` are the rows that do not, and where they go.
    origins: (P, 4), for loops that cut nothing: `first`, where the changed windows begin in the new
    ones (y, x), `width`.
    """

    source: Map
    layout: Layout
    area: tuple[int, int]
    changed: tuple[int, int]
    width: int
    first: Tensor
    origins: Integers
    inside: Tensor | None
    kept: Tensor | None = None
    to: Tensor | None = None

    def __call__(self, clean: Tensor, window: Tensor) -> Tensor:
        """clean: (rows, C) of the map. window: what changed, in its layout."""
        (height, width), before = self.area, as_rows(window, self.layout)
        index = (self.first[:, None] + template(height, width, self.width)).flatten()
        index = index.to(clean.device)
        out = clean.index_select(0, index)  # (P * height * width, C)
        if self.inside is not None:
            to = (self.inside[:, None] + template(*self.changed, width)).flatten()
            out.index_copy_(0, to.to(clean.device), before)
        elif self.kept is not None and self.to is not None:
            kept, to = self.kept.to(clean.device), self.to.to(clean.device)
            out.index_copy_(0, to, before.index_select(0, kept))
        return from_rows(out, window, self.layout, height, width)


def cut(source: Map, layout: Layout, changed: Area, area: Area) -> Cut:
    """changed: on the map without padding. area: on the map with it."""
    left, right, top, _ = source.padding
    width, count = layout.width + left + right, len(area.y)
    down, across = changed.y + top - area.y, changed.x + left - area.x
    first = torch.from_numpy(area.y * width + area.x)
    sizes = (area.height, area.width), (changed.height, changed.width), width
    origins = np.stack([first.numpy(), down, across, np.full(count, width)], 1)
    corner = np.arange(count) * (area.height * area.width) + down * area.width + across
    if (
        min(down.min(), across.min()) >= 0
        and (down.max() + changed.height) <= area.height
        and (across.max() + changed.width) <= area.width
    ):
        return Cut(source, layout, *sizes, first, origins, torch.from_numpy(corner))
    y, x = np.arange(changed.height), np.arange(changed.width)
    rows = down[:, None] + y
    columns = across[:, None] + x
    kept = (
        ((rows >= 0) & (rows < area.height))[:, :, None]
        & ((columns >= 0) & (columns < area.width))[:, None, :]
    ).ravel()
    to = (corner[:, None, None] + y[:, None] * area.width + x).ravel()[kept]
    places = torch.from_numpy(np.flatnonzero(kept)), torch.from_numpy(to)
    return Cut(source, layout, *sizes, first, origins, None, *places)


@lru_cache(512)
def template(height: int, width: int, stride: int) -> Tensor:
    """(height * width,): the rows of a window that begins at row 0 of a map of that width."""
    return (torch.arange(height)[:, None] * stride + torch.arange(width)).flatten()


def as_rows(value: Tensor, layout: Layout) -> Tensor:
    """(P * h * w, C), without a copy where channels come last in memory."""
    moved = value.movedim((layout.axis, layout.axis + 1), (1, 2))
    return moved.reshape(moved.shape[0] * moved.shape[1] * moved.shape[2], -1)


def from_rows(rows: Tensor, like: Tensor, layout: Layout, height: int, width: int) -> Tensor:
    """The inverse: windows height x width with the other axes of `like`."""
    axes = (layout.axis, layout.axis + 1)
    rest = [size for axis, size in enumerate(like.shape) if axis and axis not in axes]
    return rows.view(-1, height, width, *rest).movedim((1, 2), axes)


def kept_map(source: Map, value: Tensor, layout: Layout) -> Tensor:
    """(rows, C) of one clean map, with its padding."""
    moved = value.movedim((layout.axis, layout.axis + 1), (1, 2))[0]  # (H, W, ...)
    flat = moved.reshape(*moved.shape[:2], -1)
    left, right, top, bottom = source.padding
    if any(source.padding):
        flat = F.pad(flat, (0, 0, left, right, top, bottom), value=source.fill)
    return flat.reshape(-1, flat.shape[2])
