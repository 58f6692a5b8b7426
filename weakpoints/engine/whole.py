"""Whole passes: the form of networks with layers that neither form of windows knows.

Each chunk of boxes is painted over copies of the picture, and the network runs on them, a chunk a
thread, with PyTorch's own operations of one thread inside.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from weakpoints.engine.scratch import Scratch
from weakpoints.engine.threads import usable_threads
from weakpoints.engine.windows import Corners, Products
from weakpoints.networks.network import Conv, Linear, Network, Trace

ALIVE = 6  # maps as large as the largest between two layers that are alive at once, at most


@dataclass(frozen=True, eq=False)
class Reference:
    """The picture x (1, 3, S, S), and its logits as rows (1, C).

    largest: numbers of the largest of all activations between layers.
    """

    x: Tensor
    rows: Tensor
    largest: int
    own_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """changed: which cells differ is not told; the logits are all new."""

    corners: Corners
    box: int
    products: Products
    changed: None = None

    def scratch_elements(self, clean: tuple[Reference, ...]) -> int:
        return len(self.corners) * (clean[0].x.numel() + ALIVE * clean[0].largest)


class WholeForm:
    """All layers, the classifier's too."""

    name = "whole"
    shares = 4  # of the memory budget, for as many threads at most

    def __init__(self, network: Network) -> None:
        self._network = network
        self.threads = usable_threads() if network.like.device.type == "cpu" else 1
        self._products = dict[int, int]()  # of one pass, by side

    def plan(self, side: int, box: int, corners: Corners) -> Plan:
        if side not in self._products:
            self._products[side] = products_of_a_pass(self._network, side)
        full = len(corners) * self._products[side]
        return Plan(corners, box, Products(full, full, full))

    def clean(self, trace: Trace, dtype: torch.dtype) -> tuple[Reference, ...]:
        """The picture and its logits."""
        largest = max(activation[0].numel() for activation in (trace.x, *trace.activations))
        return (Reference(trace.x.to(dtype), trace.logits.to(dtype), largest),)

    def fill(
        self,
        plan: Plan,
        clean: tuple[Reference, ...],
        colours: Tensor,
        out: Tensor,
        scratch: Scratch,
    ) -> None:
        """Writes the logits into out (P, 1, C)."""
        x = clean[0].x.repeat(len(plan.corners), 1, 1, 1)  # (P, 3, S, S)
        for i, (top, left) in enumerate(plan.corners):
            covered = x[i, :, top : top + plan.box, left : left + plan.box]
            covered.copy_(colours[i][:, None, None].expand_as(covered))
        x = x.contiguous(memory_format=torch.channels_last)
        out[:, 0].copy_(self._network.logits(x))


@torch.inference_mode()
def products_of_a_pass(network: Network, side: int) -> int:
    """Multiplications of its convolutions and linear layers for one picture of side x side."""
    x, total = network.like.new_zeros(1, 3, side, side), 0
    for layer in network.layers:
        after = layer(x)
        match layer:
            case Conv():
                total += layer.weight.numel() * after[0, 0].numel()
            case Linear():
                total += layer.weight.numel()
            case _:  # a matrix on each pixel or token, at least
                weights = getattr(layer, "tensors", {}).values()
                pixels = max(1, after[0].numel() // after.shape[1]) if after.dim() > 2 else 1
                total += pixels * sum(w.numel() for w in weights if w.dim() > 1)
        x = after
    return total
