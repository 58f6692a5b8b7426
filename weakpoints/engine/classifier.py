"""The layers behind the windows: from the last maps to logits."""

import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.engine.spans import Products
from weakpoints.networks.network import AveragePool, Layer, Linear, Network, activated, converted

COPIES = 2  # of the maps that wait: themselves, and the rows of one cell and what they become


class Head:
    """A classifier, prepared. Threads may share it.

    Where it begins with a linear layer, each picture pays for the cells that a box changed alone:
    on VGG-16 that is the largest layer of all, and boxes of 16 pixels change 60 % of its input.
    """

    def __init__(self, layers: tuple[Layer, ...], dtype: torch.dtype) -> None:
        """dtype: of all but the last layer."""
        self._whole = Network((*converted(layers[:-1], dtype), *layers[-1:]))

    def logits(self, maps: Tensor, clean: Tensor, changed: Tensor | None) -> Tensor:
        """(P, C) of maps (P, H, W, K).

        clean: (H, W, K), the map without a box. changed: (P, H, W), true where a map may differ
        from it; None where that is not known.
        """
        if not self._whole.layers:
            return maps.flatten(1)  # whole passes: these are logits
        first, rest = self._first(clean.shape[:2])
        if first is None or changed is None:
            return self._whole.logits(maps.permute(0, 3, 1, 2))
        return rest.logits(activated(_by_cells(first, maps, clean, changed), first))

    def products(self, pictures: int, changed: Tensor | None) -> Products:
        """Multiplications; changed: as above."""
        full = pictures * sum(
            layer.weight.numel() for layer in self._whole.layers if isinstance(layer, Linear)
        )
        first = None if changed is None else self._first(changed.shape[1:])[0]
        if first is None or changed is None:
            return Products(full, full, full)
        same = changed.numel() - int(changed.sum())
        less = full - same * first.weight.numel() // changed[0].numel()
        return Products(full, less, less)

    def _first(self, size: torch.Size) -> tuple[Linear | None, Network]:
        """The linear layer that reads a map of this size as it is, and those behind it."""
        layers = self._whole.layers
        if isinstance(layers[0], AveragePool) and size == (layers[0].side, layers[0].side):
            layers = layers[1:]
        first = layers[0]
        return (first if isinstance(first, Linear) else None), Network(layers[1:])


def _by_cells(layer: Linear, maps: Tensor, clean: Tensor, changed: Tensor) -> Tensor:
    """(P, N): the layer's output before its activation, cell after cell."""
    clean = clean.flatten(0, 1)
    maps, changed = maps.flatten(1, 2), changed.flatten(1)
    weight = layer.weight.view(-1, *clean.shape)
    without = F.linear(clean.flatten().to(weight.dtype), layer.weight, layer.bias)
    logits = without.repeat(len(maps), 1)
    for cell in range(len(clean)):
        pictures = changed[:, cell].nonzero()[:, 0]
        change = (maps[pictures, cell] - clean[cell]).to(weight.dtype)
        logits.index_add_(0, pictures, change @ weight[:, cell].T)
    return logits
