"""The shape of what an operation makes, on PyTorch's meta device, where nothing is computed.

There PyTorch answers some operations by its references in Python, and the first of these calls
imports its compiler: a second or two, of each start. Such operations get their shape here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from weakpoints.networks.graph.graph import ACTIVATIONS, Operation

ARITHMETIC = {"add", "sub", "mul", "div"}


def made(
    operation: Operation, values: Mapping[str, Any], tensors: Mapping[str, Tensor], batch: int
) -> Any:
    """values, tensors: on the meta device. Raises what PyTorch does where shapes do not fit."""
    names = operation.inputs
    if operation.family in ACTIVATIONS and names:
        return torch.empty_like(values[names[0]])
    if operation.family in ARITHMETIC:
        parts = [*(values[name] for name in names), *(tensors[p] for p in operation.parameters)]
        if len({getattr(part, "dtype", None) for part in parts} - {None}) == 1:
            return _broadcast([part for part in parts if isinstance(part, Tensor)])
    match operation.kind, operation.arguments:
        case "mean.dim", ({"value": name}, [*axes], *keep):
            return _mean(values[name], axes, keep=bool(keep and keep[0]))
        case "adaptive_avg_pool2d.default", ({"value": name}, [int() as height, int() as width]):
            return values[name].new_empty(*values[name].shape[:-2], height, width)
        case "linear.default", ({"value": name}, {"parameter": weight}, *_) if (
            values[name].shape[-1] == tensors[weight].shape[-1]
        ):
            return values[name].new_empty(*values[name].shape[:-1], len(tensors[weight]))
        case "cat.default", ([*_], *axis) if len(names) > 1:
            return _joined([values[name] for name in names], axis[0] if axis else 0)
    return operation(values, tensors, batch)


def _broadcast(inputs: list[Tensor]) -> Tensor:
    """In the order in memory of the first input that has the whole shape, as PyTorch has it."""
    shape = torch.broadcast_shapes(*(value.shape for value in inputs))  # type: ignore[no-untyped-call]
    whole = next((value for value in inputs if value.shape == shape), inputs[0])
    return torch.empty_like(whole) if whole.shape == shape else whole.new_empty(shape)


def _mean(value: Tensor, axes: Sequence[int], *, keep: bool) -> Tensor:
    gone = {axis % value.dim() for axis in axes}
    sizes = [1 if axis in gone else size for axis, size in enumerate(value.shape)]
    kept = [size for axis, size in enumerate(sizes) if keep or axis not in gone]
    return value.new_empty(kept)


def _joined(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Raises RuntimeError where their other axes differ."""
    axis %= parts[0].dim()
    rest = {(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts}
    if len(rest) > 1:
        raise RuntimeError(f"shapes that differ beside axis {axis} can't be concatenated: {rest}")
    total = sum(part.shape[axis] for part in parts)
    return parts[0].new_empty(*parts[0].shape[:axis], total, *parts[0].shape[axis + 1 :])
