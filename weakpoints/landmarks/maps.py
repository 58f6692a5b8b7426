"""Maps over a photograph's grid: where cells are, values between them, maxima, blur."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.landmarks.consensus import Array
from weakpoints.landmarks.descriptors import GRID

MAP_BLUR = 0.8  # cells


def cell_centres(grid: int = GRID) -> Tensor:
    """(G * G, 2) x, y of each cell, row by row."""
    y, x = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1).float()


def read_at(maps: Tensor, places: Array) -> Array:
    """(L,): each map at its place, bilinearly."""
    cells, weights = neighbours(torch.from_numpy(places).float())
    return np.asarray((maps.flatten(1).gather(1, cells) * weights).sum(1).double())


def peaks(maps: Tensor) -> Array:
    """(L, 2) x, y of each map's maximum, to a part of a cell.

    The centroid of the squared 3 x 3 cells around it.
    """
    y, x = np.divmod(maps.flatten(1).argmax(1).numpy(), maps.shape[2])
    padded = np.pad(maps.numpy().astype(float), ((0, 0), (1, 1), (1, 1)))
    line, rows = np.arange(3), np.arange(len(x))
    patch = padded[rows[:, None, None], y[:, None, None] + line[:, None], x[:, None, None] + line]
    weight = np.square(patch / np.maximum(patch.max((1, 2), keepdims=True), 1e-300))
    total = np.maximum(weight.sum((1, 2)), 1e-300)
    dx = (weight.sum(1) * (line - 1)).sum(1) / total
    dy = (weight.sum(2) * (line - 1)).sum(1) / total
    return np.stack([x + dx, y + dy], 1)


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


def covariance_of(posterior: Tensor, places: Array) -> Array:
    """(L, 2, 2) of each landmark's map around its point, a cell's own width with it."""
    weight = posterior.flatten(1).double().numpy()
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-300)
    apart = cell_centres().double().numpy()[None] - places[:, None]
    return np.asarray(np.einsum("ln,lni,lnj->lij", weight, apart, apart) + np.eye(2) / 12)
