"""What a network says about each place of a photograph: some of its maps, each cell of length 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.network import Conv, Layer, Network, Residual, Trace

GRID = 28  # cells on each side of the common grid; more cells found no more landmarks
COARSEST = 32  # pixels of the input a cell of a map is wide, at most
FINEST = 8  # and at least: finer maps know edges, not parts
SIMILAR = (2, 3)  # convolutions taken of the finest map and of coarser ones, where none adds up
Descriptors = tuple[Tensor, ...]
"""(C, n, n) float32 of each layer."""
Rows = tuple[Tensor, ...]
"""(P, C) float32 of each layer: the descriptors of P places."""


@dataclass(frozen=True)
class Layout:
    """What a network is asked for. layers: as indices into a trace's activations; none where the
    network has no maps. weights: what each counts. shapes: (C, n, n) of each.
    """

    layers: tuple[int, ...]
    weights: tuple[float, ...]
    shapes: tuple[tuple[int, ...], ...]


def layout_of(network: Network, side: int) -> Layout:
    """One forward pass of a blank picture: the sizes of its maps tell which layers describe."""
    blank = network.trace(torch.zeros(1, 3, side, side))
    layers = landmark_layers(network, blank)
    shapes = tuple(tuple(blank.activations[layer].shape[1:]) for layer in layers)
    return Layout(layers, layer_weights(network, blank), shapes)


def landmark_layers(network: Network, trace: Trace) -> tuple[int, ...]:
    """The layers that describe a place, as indices into the trace's activations.

    Of a network with residual blocks, or of segments of a graph: of each width the last one, on
    maps whose cells are 8 to 32 pixels wide. Of a plain chain (VGG): the last two convolutions at
    8 pixels and the last three at 16. Chosen on the ducks and faces of docs/evaluation.md.
    """
    side = trace.x.shape[-1]
    blocks = _on_maps(network, trace, side, (Residual, Segment), COARSEST)
    if blocks:
        return _last_of_each_width(trace, blocks)
    convolutions = _on_maps(network, trace, side, (Conv,), COARSEST // 2)
    if not convolutions:  # a network whose maps are all finer or coarser: what there is
        convolutions = [i for i, a in enumerate(trace.activations) if _is_map(a)][-1:]
    sides = groupby(convolutions, lambda layer: trace.activations[layer].shape[-1])
    return tuple(
        layer
        for number, (_, layers) in enumerate(sides)
        for layer in list(layers)[-SIMILAR[min(number, 1)] :]
    )


def layer_weights(network: Network, trace: Trace) -> tuple[float, ...]:
    """What each of `landmark_layers` counts in the similarity.

    Of a network with blocks the root of its cells' width over 16 pixels: its coarser maps know the
    parts better, and it has but one of each. Of a plain chain all count the same.
    """
    layers, side = landmark_layers(network, trace), trace.x.shape[-1]
    if not any(isinstance(network.layers[layer], Residual | Segment) for layer in layers):
        return (1.0,) * len(layers)
    widths = [side / trace.activations[layer].shape[-1] for layer in layers]
    return tuple(math.sqrt(width / (COARSEST / 2)) for width in widths)


def describe(activations: Sequence[Tensor], weights: Sequence[float]) -> Descriptors:
    """Of (C, n, n) float32 of each layer: the lengths' squares add up to 1 in each place."""
    total = sum(weights)
    return tuple(
        F.normalize(activation.contiguous(), dim=0, eps=1e-6).mul_(math.sqrt(weight / total))
        for activation, weight in zip(activations, weights, strict=True)
    )


def at_places(descriptors: Descriptors, places: Tensor) -> Rows:
    """(P, C) of each layer, read bilinearly at (P, 2) x, y in cells of the grid."""
    return tuple(_read(layer, places) for layer in descriptors)


def weighed_by_width(descriptors: Descriptors, rows: Rows) -> Rows:
    """Rows of descriptors, whose layers count by their cells' width instead of by their weights.

    The similarity of a place and itself is as it was. Of a place that compares parts, not points:
    coarse maps know better which of several places is right.
    """
    shares = [float(layer.square().sum(0).max()) for layer in descriptors]
    widths = [1 / layer.shape[-1] for layer in descriptors]
    # A network that is silent on a blank photograph has a share of 0, and rows of 0.
    factors = (
        width / sum(widths) * sum(shares) / max(share, 1e-12)
        for width, share in zip(widths, shares, strict=True)
    )
    return tuple(row * factor for row, factor in zip(rows, factors, strict=True))


def similarity(places: Rows, target: Descriptors) -> Tensor:
    """(P, G * G), >= 0: how alike places of references are to each cell of a target's grid.

    It is the sum over layers of the products on the target's own cells, resampled bilinearly to the
    grid. The product of resampled descriptors would be the same, at many times the cost.
    """
    by_side: dict[int, Tensor] = {}  # layers of one size are added before they are resampled
    for ours, theirs in zip(places, target, strict=True):
        side, product = theirs.shape[-1], ours @ theirs.flatten(1)
        by_side[side] = by_side[side].add_(product) if side in by_side else product
    total: Tensor | None = None
    for side, product in by_side.items():
        alike = _resampled(product, side)
        # In place: memory that is fetched anew costs more than the sums.
        total = alike if total is None else total.add_(alike)
    if total is None:
        raise ValueError("no layer describes the photographs")
    return total.clamp_(min=0)


def _read(layer: Tensor, places: Tensor) -> Tensor:
    """(P, C) of (C, n, n), bilinearly."""
    side = layer.shape[-1]
    own = ((places + 0.5) * side / GRID - 0.5).clamp(0, side - 1)
    low = own.floor().clamp(max=side - 2)
    x, y = (own - low).T
    left, top = low.long().T
    first, cells = top * side + left, layer.flatten(1)
    upper = cells[:, first] * (1 - x) + cells[:, first + 1] * x
    lower = cells[:, first + side] * (1 - x) + cells[:, first + side + 1] * x
    rows: Tensor = upper * (1 - y) + lower * y
    return rows.T.contiguous()


def _resampled(values: Tensor, side: int) -> Tensor:
    """(N, side * side) -> (N, G * G), bilinearly, a cell's value at its centre."""
    if side == GRID:
        return values
    weights = _bilinear(side)
    across = values.reshape(-1, side) @ weights.T
    return (weights @ across.view(-1, side, GRID)).flatten(1)


@lru_cache
def _bilinear(side: int) -> Tensor:
    """(G, side): how much each cell of an axis has in each of the grid's cells."""
    centres = ((torch.arange(GRID, dtype=torch.float64) + 0.5) * side / GRID - 0.5).clamp(
        0, side - 1
    )
    apart = (centres[:, None] - torch.arange(side)).abs()
    return (1 - apart).clamp(min=0).float()


def _on_maps(
    network: Network, trace: Trace, side: int, kinds: tuple[type[Layer], ...], coarsest: int
) -> list[int]:
    return [
        i
        for i, layer in enumerate(network.layers)
        if isinstance(layer, kinds)
        and _is_map(trace.activations[i])
        and FINEST <= side / trace.activations[i].shape[-1] <= coarsest
    ]


def _is_map(activation: Tensor) -> bool:
    """Whether it has places: (N, C, n, n). Tokens, channels-last and averages have none."""
    return activation.dim() == 4 and activation.shape[2] == activation.shape[3] > 1


def _last_of_each_width(trace: Trace, blocks: Sequence[int]) -> tuple[int, ...]:
    widths = groupby(blocks, lambda block: tuple(trace.activations[block].shape[1:]))
    return tuple(list(same)[-1] for _, same in widths)
