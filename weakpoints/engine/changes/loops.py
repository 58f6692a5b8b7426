"""What is done to windows around the products: compiled by Numba, or in PyTorch.

The twins in PyTorch run where there is no Numba, and are the oracle of the compiled ones.
Tables are (rows, C), without the row of zeros but for `evaluate`, whose blocks count it.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weakpoints.engine.changes import winograd
from weakpoints.engine.changes.windows import Blocks, PoolStep, Windows

NUMBA = find_spec("numba") is not None


def compiled() -> Any:
    """The module `compiled`, at its first use: Numba's import takes half a second, and networks
    that take another form need none of it.
    """
    from weakpoints.engine.changes import compiled

    return compiled


def evaluate(table: Tensor, blocks: Blocks, points: Tensor) -> None:
    """points (blocks.count, C): the changes of each block at the points of both axes."""
    if NUMBA:
        compiled().evaluate(_flat(table), table.shape[1], blocks.table, blocks.rows, _flat(points))
        return
    for high, wide, chosen, rows in _by_size(blocks):
        down, across = torch.arange(high)[:, None], torch.arange(wide)
        reads = chosen[:, 1, None, None] + down * chosen[:, 2, None, None] + across
        at_y, at_x = (_at(inputs, table) for inputs in (high, wide))
        points[rows] = torch.einsum("iy,jx,byxc->bijc", at_y, at_x, table[reads])


def interpolate(points: Tensor, blocks: Blocks, out: Tensor) -> None:
    """out: what the blocks' products (blocks.count, K) add up to in each picture's window."""
    if NUMBA:
        compiled().interpolate(
            _flat(points),
            points.shape[1],
            blocks.table,
            blocks.rows,
            blocks.windows,
            _flat(out),
        )
        return
    windows = torch.from_numpy(blocks.windows)
    first, end = windows[0, 0], windows[-1, 0] + windows[-1, 1] * windows[-1, 2]
    out[first:end] = 0
    for high, wide, chosen, rows in _by_size(blocks):
        back_y, back_x = (_back(inputs, points) for inputs in (high, wide))
        products = torch.einsum("ui,vj,bijk->buvk", back_y, back_x, points[rows])
        start, height, width = windows[chosen[:, 0], :3].T[..., None, None]
        y = chosen[:, 3, None, None] + torch.arange(high + 2)[:, None]
        x = chosen[:, 4, None, None] + torch.arange(wide + 2)
        inside = (y >= 0) & (x >= 0) & (y < height) & (x < width)
        out.index_add_(0, (start + y * width + x)[inside], products[inside])


def activate(out: Tensor, windows: Windows, clean: Tensor, before: Tensor, ceiling: float) -> None:
    """out: from the change before the activation, the change behind it; clean, before: (H * W, K),
    what the layer puts out without a box, and what it hands to its activation.
    """
    if NUMBA:
        compiled().activate(
            out.shape[1], windows.table, _flat(clean), _flat(before), ceiling, _flat(out)
        )
        return
    under = torch.from_numpy(windows.map_index)
    out.add_(before[under]).clamp_(0, ceiling).sub_(clean[under])


def pool(step: PoolStep, table: Tensor, clean: Tensor, after: Tensor, out: Tensor) -> None:
    """out: the change of the maximum. table: (1 + ., C); clean, after: (H * W, C), what is before
    and behind the layer without a box.
    """
    layer, inside, outside = step.layer, step.before, step.after
    if NUMBA:
        compiled().pool(
            _flat(table[1:]),
            table.shape[1],
            inside.table,
            _flat(clean),
            inside.y.length,
            _flat(out),
            outside.table,
            _flat(after),
            layer.kernel,
            layer.stride,
            layer.padding,
        )
        return
    picture, y, x = outside.pixels
    out.fill_(-torch.inf)
    for n in range(layer.kernel**2):
        v = y * layer.stride - layer.padding + n // layer.kernel
        u = x * layer.stride - layer.padding + n % layer.kernel
        on_map = (v >= 0) & (u >= 0) & (v < inside.y.length) & (u < inside.x.length)
        rows = inside.rows(picture[on_map], v[on_map], u[on_map])
        value = table[rows] + clean[(v * inside.x.length + u)[on_map]]
        out[on_map] = torch.maximum(out[on_map], value)
    out.sub_(after[outside.map_index])


def _flat(table: Tensor):  # type: ignore[no-untyped-def]
    return table.detach().reshape(-1).numpy()


def _by_size(blocks: Blocks):  # type: ignore[no-untyped-def]
    """Inputs down and across; the blocks that have as many; their rows of products."""
    table, rows = torch.from_numpy(blocks.table), torch.from_numpy(blocks.rows)
    for high, wide in np.unique(blocks.table[:, 5:7], axis=0).tolist():
        chosen = (table[:, 5] == high) & (table[:, 6] == wide)
        yield high, wide, table[chosen], rows[chosen, : high + 2, : wide + 2]


def _at(inputs: int, like: Tensor) -> Tensor:
    return torch.from_numpy(winograd.evaluation(inputs, inputs + 2)).to(like)


def _back(inputs: int, like: Tensor) -> Tensor:
    return torch.from_numpy(winograd.interpolation(inputs)).to(like)
