"""The stages of named points once more: in float64, cell by cell, and slow."""

from typing import Any

import numpy as np

from weakpoints.landmarks import consensus, transport, votes
from weakpoints.landmarks.consensus import Shape
from weakpoints.landmarks.descriptors import GRID


def grid_descriptors(maps: Any, places: Any) -> Any:
    """(N, D): the descriptors at places, x, y in cells of the grid, layers side by side."""
    layers = []
    for layer in maps:
        layer = layer.double().numpy()
        _, height, width = layer.shape
        cells = []
        for column, row in places:
            y = min(max((row + 0.5) * height / GRID - 0.5, 0), height - 1)
            x = min(max((column + 0.5) * width / GRID - 0.5, 0), width - 1)
            cells.append(bilinear(layer, x, y))
        layers.append(np.stack(cells))
    return np.concatenate(layers, 1)


def bilinear(values: np.ndarray, x: float, y: float) -> Any:
    """(..., h, w) at x, y."""
    left = min(int(np.floor(x)), max(values.shape[-1] - 2, 0))
    top = min(int(np.floor(y)), max(values.shape[-2] - 2, 0))
    total = 0.0
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if share_x * share_y:
                total = total + share_x * share_y * values[..., row, column]
    return total


def plan(similarity: np.ndarray) -> Any:
    kernel = np.exp((similarity - similarity.max()) / transport.TEMPERATURE)
    columns = np.ones(kernel.shape[1])
    for _ in range(transport.ROUNDS):
        rows = np.array([(1 / len(kernel) / (row @ columns)) ** transport.GIVEN for row in kernel])
        columns = np.array([1 / kernel.shape[1] / (column @ rows) for column in kernel.T])
    scaled = rows[:, None] * kernel * columns
    return scaled / scaled.max(), columns


def offset_votes(moved: np.ndarray, place: np.ndarray, deviation: float) -> Any:
    """(O, O) of one landmark at x, y, without the blur, from each block's first cell."""
    counted = np.zeros((votes.OFFSETS, votes.OFFSETS))
    middle = (votes.STEP - 1) / 2
    for block, target in np.argwhere(moved):
        row, column = divmod(block, votes.BLOCKS)
        y, x = row * votes.STEP, column * votes.STEP
        to_y, to_x = divmod(target, GRID)
        apart = (x + middle - place[0]) ** 2 + (y + middle - place[1]) ** 2
        near = np.exp(-apart / (2 * deviation**2))
        counted[to_y - y + GRID - 1, to_x - x + GRID - 1] += near * moved[block, target]
    return counted


def votes_at(offsets: np.ndarray, place: np.ndarray) -> Any:
    """(G, G): the votes for each target cell's offset from a place, between four of them."""
    read = np.zeros((GRID, GRID))
    padded = np.pad(offsets, ((0, 1), (0, 1)))
    for y in range(GRID):
        for x in range(GRID):
            away = np.array([x, y]) - place + (votes.STEP - 1) / 2 + GRID - 1
            read[y, x] = bilinear(padded, *away)
    return read


def predicted_from_others(shape: Shape, found: np.ndarray, weight: np.ndarray) -> Any:
    """Each landmark left out in turn: the posterior of the Gaussian process without it."""
    unit, extent = shape.unit, shape.extent
    moved = (found - shape.places) / extent
    places, deviations = [], []
    for left_out in range(len(unit)):
        others = [i for i in range(len(unit)) if i != left_out and shape.marked[i]]
        noise = [consensus.NOISE**2 / max(weight[i], consensus.UNSEEN) for i in others]
        among = covariance(unit[others], unit[others]) + np.diag(noise)
        across = covariance(unit[[left_out]], unit[others])[0]
        solved = np.linalg.solve(among, across)
        own = covariance(unit[[left_out]], unit[[left_out]])[0, 0]
        places.append(shape.places[left_out] + extent * (solved @ moved[others]))
        variance = own - across @ solved + consensus.FLOOR**2
        deviations.append(extent * variance**0.5)
    return np.array(places), np.array(deviations)


def covariance(a: np.ndarray, b: np.ndarray) -> Any:
    return np.array(
        [
            [
                consensus.SHIFT**2
                + consensus.AFFINE**2 * p @ q
                + consensus.REST**2 * np.exp(-((p - q) @ (p - q)) / (2 * consensus.REACH**2))
                for q in b
            ]
            for p in a
        ]
    )
