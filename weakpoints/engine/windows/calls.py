"""An operation of a graph as one call of PyTorch's, in its input's memory where that is free."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weakpoints.networks.graph.graph import Graph, Operation, as_others, function

HEIGHT, WIDTH, COUNT = ":height", ":width", ":count"  # of a window, and of pictures
IN_PLACE = {
    *("relu", "relu6", "hardtanh", "clamp", "clamp_min", "leaky_relu", "elu", "silu", "gelu"),
    *("mish", "hardswish", "sigmoid", "hardsigmoid", "tanh", "add", "sub", "mul", "div"),
}
FRESH = IN_PLACE | {
    *("conv2d", "linear", "max_pool2d", "avg_pool2d", "batch_norm", "layer_norm", "group_norm"),
    *("cat", "clone", "matmul", "scaled_dot_product_attention"),
}
WEIGHTS = ":weights"  # whose memory a value may be a view of, as a class token that is expanded
Reader = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, eq=False)
class Call:
    """in_place: what writes into its first argument instead, None where that must not be."""

    function: Callable[..., Any]
    in_place: Callable[..., Any] | None
    arguments: tuple[Reader, ...]
    options: Mapping[str, Reader]

    def __call__(self, values: Mapping[str, Any], *, writes: bool) -> Any:
        """writes: whether it may work in the memory of its input."""
        run = self.in_place if writes and self.in_place is not None else self.function
        options = {key: reader(values) for key, reader in self.options.items()}
        return run(*[reader(values) for reader in self.arguments], **options)


def call(operation: Operation, tensors: Mapping[str, Tensor], *, in_place: bool) -> Call:
    readers = tuple(_reader(argument, tensors) for argument in operation.arguments)
    options = {key: _reader(argument, tensors) for key, argument in operation.options.items()}
    writing = None
    if in_place:
        family, _, overload = operation.kind.partition(".")
        packet = getattr(torch.ops.aten, f"{family}_", None)
        writing = getattr(packet, overload, None)
    return Call(function(operation.kind), writing, readers, options)


def _reader(argument: Any, tensors: Mapping[str, Tensor]) -> Reader:
    match argument:
        case {"value": name}:
            return lambda values: values[name]
        case {"parameter": name}:
            tensor = tensors[name]
            return lambda values: tensor
        case {"batch": _}:
            return lambda values: values[COUNT]
        case {"dtype": _} | {"device": _}:
            kind = as_others(argument, tensors.values())
            return lambda values: kind
        case list() | tuple():
            parts = [_reader(part, tensors) for part in argument]
            return lambda values: [part(values) for part in parts]
    return lambda values: argument


class Bounds(NamedTuple):
    """What an operation clamps its input to; 0 lies within."""

    low: float
    high: float


def bounds_of(operation: Operation) -> Bounds | None:
    """None where it does anything else."""
    names = {"hardtanh": ("min_val", "max_val"), "clamp": ("min", "max"), "clamp_min": ("min",)}
    defaults = {"relu": (0, inf), "relu6": (0, 6), "hardtanh": (-1, 1)}
    family, given = operation.family, operation.arguments[1:]
    if family not in names and family not in defaults:
        return None
    bounds = list(defaults.get(family, (-inf, inf)))
    for i, name in enumerate(names.get(family, ())):
        bound = given[i] if i < len(given) else operation.options.get(name)
        bounds[i] = bounds[i] if bound is None else bound
    if not all(isinstance(bound, int | float) for bound in bounds):
        return None
    return Bounds(*map(float, bounds)) if bounds[0] <= 0 <= bounds[1] else None


def free_inputs(graph: Graph) -> set[str]:
    """The operations whose first argument nobody reads afterwards, by it or by a view of it."""
    last = {name: i for i, operation in enumerate(graph.operations) for name in operation.inputs}
    last[graph.output] = last[WEIGHTS] = len(graph.operations)
    shared = {graph.picture: {graph.picture}}  # values that may lie in the same memory
    free = set()
    for i, operation in enumerate(graph.operations):
        family, inputs = operation.family, operation.inputs
        if family in IN_PLACE and inputs and operation.arguments[:1] == ({"value": inputs[0]},):
            group = shared[inputs[0]]
            if group.isdisjoint(inputs[1:]) and all(last.get(name, 0) <= i for name in group):
                free.add(operation.name)
        group = {operation.name}
        if family not in FRESH:
            group.update(*(shared[name] for name in inputs))
            group.update([WEIGHTS] if operation.parameters else [])
        elif operation.name in free:
            group |= shared[inputs[0]]
        for name in group:
            shared[name] = group
    return free


def products_of(operation: Operation, inputs: Sequence[Any], out: Any) -> int:
    """Multiplications of matrices, by the shapes of what goes in and comes out."""
    if not isinstance(out, Tensor):
        return 0
    match operation.family, inputs:
        case "linear" | "matmul" | "bmm" | "mm", (Tensor() as first, *_):
            return out.numel() * first.shape[-1]
        case "addmm", (_, Tensor() as first, *_):
            return out.numel() * first.shape[-1]
        case "scaled_dot_product_attention", (Tensor() as query, Tensor() as key, *_):
            return 2 * query.numel() * key.shape[-2]
        case "conv2d", (Tensor(), Tensor() as weight, *_):
            return out.numel() * weight[0].numel()
    return 0
