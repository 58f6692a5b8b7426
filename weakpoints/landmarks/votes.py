"""Pairs of cells that move as their neighbours do (regularised Hough matching, Cho et al. 2015)."""

import threading

import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.landmarks.descriptors import GRID
from weakpoints.landmarks.maps import blurred, cell_centres

OFFSETS = 2 * GRID - 1  # of a target's cell from a reference's, along each axis
STEP = 2  # cells of the reference are taken in blocks of STEP x STEP: a quarter of the work
BLOCKS = GRID // STEP  # along each axis
# Deviation in cells of the Gaussian in which blocks vote for a landmark, and the votes' power: the
# blocks at it say where it goes to a cell, those around it which of several places is right.
VOTES = ((2.0, 0.5), (4.0, 1.0))
OFFSET_BLUR = 1.5  # cells: votes for nearly the same offset count together
_own = threading.local()  # 2 MB, whose fetching anew would take longer than the votes


def block_centres() -> Tensor:
    """(B * B, 2) x, y in cells of the reference's blocks, row by row."""
    return cell_centres(BLOCKS) * STEP + (STEP - 1) / 2


def landmark_maps(plan: Tensor, own: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Where each landmark of the reference goes: (L, G, G) of sum 1, and the wide votes (L, O, O).

    plan: (B * B, G * G) of the reference's blocks. own: (L, G * G), the landmarks' own rows of it.
    places: (L, 2) x, y in cells. Each pair counts times the votes for its offset from the blocks
    near the landmark.
    """
    by_block, maps = by_offset(plan), own.view(-1, GRID, GRID)
    for near, power in VOTES:
        votes = offset_votes(by_block, places, near)
        maps = maps * votes_at(votes, places) ** power
    return maps / maps.sum((1, 2), keepdim=True).clamp(min=1e-30), votes


def offset_votes(by_block: Tensor, places: Tensor, near: float) -> Tensor:
    """(L, O, O): the mass at each offset (y, x), of the blocks near each landmark.

    by_block: as `by_offset` lays a plan out. near: the deviation of the Gaussian, in cells.
    The offset is from a block's first cell, and no offset is in the middle.
    """
    apart = (block_centres()[None] - places[:, None]).square().sum(2)
    votes = (torch.exp(-apart / (2 * near**2)) @ by_block).view(-1, OFFSETS, OFFSETS)
    return blurred(votes, OFFSET_BLUR)


def by_offset(plan: Tensor) -> Tensor:
    """(B * B, O * O): each row of the plan, laid out by the offset from its block's first cell.

    It holds until the next call on this thread.
    """
    size, g, b = OFFSETS**2, GRID, BLOCKS
    wide = _scratch()
    # Row (y, x) begins at its offset (-STEP y, -STEP x): one step in y is one row of blocks further
    # on and STEP rows of offsets back. So the whole plan is copied at once.
    strides = (b * size - STEP * OFFSETS, size - STEP, OFFSETS, 1)
    first = (g - 1) * OFFSETS + g - 1
    torch.as_strided(wide, (b, b, g, g), strides, first).copy_(plan.view(b, b, g, g))
    return wide


def _scratch() -> Tensor:
    """(B * B, O * O), a thread's own: what no plan is copied to stays 0."""
    if not hasattr(_own, "wide"):
        with torch.inference_mode(False):  # one that may be written to in either mode
            _own.wide = torch.zeros(BLOCKS**2, OFFSETS**2)
    kept: Tensor = _own.wide
    return kept


def votes_at(votes: Tensor, places: Tensor) -> Tensor:
    """(L, G, G): the votes (L, O, O) for each target cell's offset from (L, 2) places."""
    # A place lies where the middle of a block would; the votes count from the block's first cell.
    start = GRID - 1 - (places.clamp(0, GRID - 1) - (STEP - 1) / 2)
    low = start.floor()
    padded = F.pad(votes, (0, 1, 0, 1))
    parts = [
        landmark[y : y + GRID + 1, x : x + GRID + 1]
        for landmark, (x, y) in zip(padded, low.int().tolist(), strict=True)
    ]
    part, (x, y) = torch.stack(parts), (start - low).T[:, :, None, None]
    rows: Tensor = part[:, :-1] * (1 - y) + part[:, 1:] * y
    read: Tensor = rows[..., :-1] * (1 - x) + rows[..., 1:] * x
    return read


def votes_back(votes: Tensor, cells: Tensor) -> Tensor:
    """(L, B, B): the votes (L, O, O) for the offsets of one target cell each from every block."""
    line = GRID - 1 - STEP * torch.arange(BLOCKS)
    y, x = (cells // GRID)[:, None] + line, (cells % GRID)[:, None] + line
    return votes[torch.arange(len(votes))[:, None, None], y[:, :, None], x[:, None, :]]
