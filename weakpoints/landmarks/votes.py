"""Pairs of cells that move as their neighbours do (regularised Hough matching, Cho et al. 2015)."""

import threading

import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.landmarks.descriptors import GRID

OFFSETS = 2 * GRID - 1  # of a target's cell from a reference's, along each axis
NEAR = 4.0  # cells: deviation of the Gaussian in which cells vote for a landmark
OFFSET_BLUR = 1.5  # cells: votes for nearly the same offset count together
SHARPNESS = 1.5  # power of the votes: a pair that few others follow counts little
_own = threading.local()  # 9 MB, whose fetching anew would take longer than the votes


def cell_centres(grid: int = GRID) -> Tensor:
    """(G * G, 2) x, y of each cell, row by row."""
    y, x = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1).float()


def landmark_maps(plan: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Where each landmark of the reference goes: (L, G, G) of sum 1, and its votes (L, O, O).

    places: (L, 2) x, y in cells. A landmark reads the plan's rows of its four cells, bilinearly,
    each pair times the votes for its offset from the cells near the landmark.
    """
    votes = offset_votes(plan, places)
    corners, weights = neighbours(places)
    rows = plan[corners.flatten()].view(*corners.shape, GRID, GRID)
    heights = torch.stack(
        [
            torch.stack([shifted(own, cell) for cell in four])
            for own, four in zip(votes, corners.tolist(), strict=True)
        ]
    )
    maps = torch.einsum("lk,lkyx->lyx", weights, rows * heights**SHARPNESS)
    return maps / maps.sum((1, 2), keepdim=True).clamp(min=1e-30), votes


def offset_votes(plan: Tensor, places: Tensor) -> Tensor:
    """(L, O, O): the plan's mass at each offset (y, x), of the cells near each landmark."""
    near = (cell_centres()[None] - places[:, None]).square().sum(2)
    by_cell = by_offset(plan)
    votes = (torch.exp(-near / (2 * NEAR**2)) @ by_cell).view(-1, OFFSETS, OFFSETS)
    return blurred(votes, OFFSET_BLUR)


def by_offset(plan: Tensor) -> Tensor:
    """(G * G, O * O): each row of the plan, laid out by the offset from its own cell.

    It holds until the next call on this thread.
    """
    size, g = OFFSETS**2, GRID
    wide = _scratch()
    # Row (y, x) begins at its offset (-y, -x): one step in y is one row of cells further on and
    # one row of offsets back. So the whole plan is copied at once.
    strides = (g * size - OFFSETS, size - 1, OFFSETS, 1)
    first = (g - 1) * OFFSETS + g - 1
    torch.as_strided(wide, (g, g, g, g), strides, first).copy_(plan.view(g, g, g, g))
    return wide


def _scratch() -> Tensor:
    """(G * G, O * O), a thread's own: what no plan is copied to stays 0."""
    if not hasattr(_own, "wide"):
        with torch.inference_mode(False):  # one that may be written to in either mode
            _own.wide = torch.zeros(GRID**2, OFFSETS**2)
    kept: Tensor = _own.wide
    return kept


def shifted(votes: Tensor, cell: int) -> Tensor:
    """(G, G): the votes (O, O) for the offset of each target cell from a reference's cell."""
    y, x = divmod(cell, GRID)
    return votes[GRID - 1 - y : 2 * GRID - 1 - y, GRID - 1 - x : 2 * GRID - 1 - x]


def neighbours(places: Tensor) -> tuple[Tensor, Tensor]:
    """The four cells around each place, (L, 4), and their bilinear weights."""
    inside = places.clamp(0, GRID - 1)
    low = inside.floor().clamp(max=GRID - 2)
    x, y = (inside - low).T
    left, top = low.long().T
    first = top * GRID + left
    cells = torch.stack([first, first + 1, first + GRID, first + GRID + 1], 1)
    weights = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)
    return cells, weights


def blurred(maps: Tensor, deviation: float) -> Tensor:
    """(N, h, w) under a Gaussian; outside there is nothing."""
    reach = int(4 * deviation + 0.5)
    line = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-line.square() / (2 * deviation**2))
    kernel = (kernel / kernel.sum())[None, None]
    across = F.conv2d(maps[:, None], kernel[:, :, None], padding=(0, reach))
    return F.conv2d(across, kernel[..., None], padding=(reach, 0))[:, 0]
