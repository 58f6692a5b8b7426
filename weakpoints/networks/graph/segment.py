"""A layer that is a few operations of a graph: from one value to the next that all passes through.

Forward it is PyTorch's own operations, back it is autograd. Guided backpropagation (Springenberg
et al. 2014) beyond ReLU: behind an elementwise activation f, the signal R becomes
(f > 0) * (R > 0) * R, and then goes through f's own derivative. For ReLU that is the paper's rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from weakpoints.networks.graph.graph import ACTIVATIONS, Operation


@dataclass(frozen=True, eq=False)
class Segment:
    """operations: in order; reads `entry`, puts out `exit`. tensors: its parameters by name."""

    operations: tuple[Operation, ...]
    tensors: Mapping[str, Tensor]
    entry: str
    exit: str
    relu = False
    ceiling = inf

    def __call__(self, x: Tensor) -> Tensor:
        return self._run(x, guided=False)

    def transpose(self, signal: Tensor, x: Tensor, *, guided: bool) -> Tensor:
        """The N signals at x, from those behind it; x: (N, ...), or (1, ...) for all of them."""
        # inference tensors can't be part of autograd's graph: copies are made outside of that mode
        with torch.inference_mode(mode=False), torch.enable_grad():
            start = x.clone().expand(len(signal), *x.shape[1:]).detach().requires_grad_()
            out = self._run(start, guided=guided)
            return torch.autograd.grad(out, start, signal.clone().reshape(out.shape))[0]

    def _run(self, x: Tensor, *, guided: bool) -> Tensor:
        values: dict[str, Any] = {self.entry: x}
        for operation in self.operations:
            out = operation(values, self.tensors, len(x))
            if guided and operation.family in ACTIVATIONS:
                out = _Clipped.apply(out)
            values[operation.name] = out
        result: Tensor = values[self.exit]
        return result


class _Clipped(torch.autograd.Function):
    """Forward nothing; back, only what is positive, where the activation passed."""

    @staticmethod
    def forward(ctx: Any, after: Tensor) -> Tensor:
        ctx.save_for_backward(after)
        return after.view_as(after)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:
        (after,) = ctx.saved_tensors
        passed: Tensor = signal.clamp(min=0) * (after > 0)
        return passed
