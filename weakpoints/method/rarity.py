"""How unlike the rest of the photograph each place looks to the network.

Plumage, metal and sky look alike in many places; an eye, a beak and a wheel look like little else.
It asks for no class and costs no further pass. It is a kernel density estimate (Parzen 1962) of the
cells' descriptors; the self-information of a place as Bruce and Tsotsos (2005) have it, with a
network's features in place of their filters.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from weakpoints.method.fusion import smooth
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.network import AveragePool, MaxPool, Network, Residual, Trace

FINER = 4  # than the last map's: coarser cells know the object and not its parts
LEAST_DISTANCE = 1e-3  # of cells on average: below it there is rounding alone
CELLS = 28  # on each side, at most; finer maps are averaged
BANDWIDTH = 1 / 3  # of the cells' mean distance: what is further away is another kind of place
SMOOTH = 1 / 40  # the Gaussian's deviation, of the side: cells move when the picture does


@torch.inference_mode()
def log_rarity(network: Network, trace: Trace, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(S, S), <= 0 and 0 at the rarest place inside, of a single picture.

    -log of the mean over the cells inside of exp(-distance / bandwidth), the distance of two cells
    being 1 less the cosine of their activations; bilinear between cells, smoothed, less its
    maximum. 0 everywhere for a network without maps. inside: (S, S), false in a letterbox's margin.
    """
    layer = descriptor_layer(network, trace)
    if layer is None or not inside.any():
        return np.zeros(inside.shape)
    cells = trace.activations[layer]
    if cells.shape[-1] > CELLS:
        cells = F.adaptive_avg_pool2d(cells, CELLS)
    rare = self_information(cells[0].float(), _counted(inside, cells.shape[-1]))
    stretched = cv2.resize(rare.double().cpu().numpy(), inside.shape[::-1])
    smoothed = smooth(np.asarray(stretched, np.float64), inside, SMOOTH)
    return np.asarray(np.where(inside, smoothed - smoothed[inside].max(), 0.0))


def self_information(cells: Tensor, counted: NDArray[np.bool_]) -> Tensor:
    """(n, n), >= 0, of activations (C, n, n): how little a cell looks like those that count."""
    directions = F.normalize(cells.flatten(1), dim=0, eps=1e-6)
    count = torch.from_numpy(counted.ravel()).to(cells.device)
    distances = 1 - directions.T @ directions[:, count]
    bandwidth = BANDWIDTH * distances[count].mean().clamp(min=LEAST_DISTANCE)
    return -(-distances / bandwidth).exp().mean(1).log().view(cells.shape[1:])


def descriptor_layer(network: Network, trace: Trace) -> int | None:
    """The last block with cells a quarter as wide as the last map's, or narrower.

    As an index into the trace's activations; None where there is none. Of a chain without blocks
    (VGG) the last such convolution. What lies between two blocks does not describe as well.
    """
    maps = [
        (layer, i, activation.shape[-1])
        for i, (layer, activation) in enumerate(zip(network.layers, trace.activations, strict=True))
        if not isinstance(layer, AveragePool | MaxPool)
        and activation.dim() == 4
        and activation.shape[2] == activation.shape[3] > 1
    ]
    blocks = [(i, side) for layer, i, side in maps if isinstance(layer, Residual | Segment)]
    described = blocks or [(i, side) for _, i, side in maps]
    return max((i for i, side in described if side >= FINER * maps[-1][2]), default=None)


def _counted(inside: NDArray[np.bool_], cells: int) -> NDArray[np.bool_]:
    """(n, n): the cells whose middle is inside; all, where none is."""
    middles = ((np.arange(cells) + 0.5) * len(inside) / cells).astype(int)
    counted = inside[np.ix_(middles, middles)]
    return counted if counted.any() else np.ones_like(counted)
