"""Which floats of a graph are the network's own, and which the module asks for by name.

An exported operation only says `float32`. What a module in float64 makes in float32 all the same
was asked for, as timm's EdgeNeXt asks for its positions.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from weakpoints.networks.graph.graph import Graph, Operation, leaves

OWN = {"dtype": "float"}  # as the network's tensors, whatever these are


def argument(dtype: torch.dtype) -> dict[str, str]:
    """By its name."""
    return {"dtype": str(dtype).removeprefix("torch.")}


def with_own(graph: Graph, dtype: torch.dtype, twin: Callable[[], Graph | None]) -> Graph:
    """The graph with OWN where the network's dtype stands and was not asked for by name.

    twin: the graph of the same module in another dtype, made only if need be; None where there is
    none. Without one that has the same operations, nothing counts as asked for.
    """
    own = argument(dtype)
    if not any(own in leaves(_given(operation)) for operation in graph.operations):
        return graph
    other = twin()
    same = other is not None and _kinds(other) == _kinds(graph)
    twins = other.operations if other and same else (None,) * len(graph.operations)
    pairs = zip(graph.operations, twins, strict=True)
    return replace(graph, operations=tuple(_settled(one, two, own) for one, two in pairs))


def _settled(one: Operation, two: Operation | None, own: dict[str, str]) -> Operation:
    arguments = _merged(one.arguments, two and two.arguments, own)
    options = {
        key: _merged(option, two and two.options[key], own) for key, option in one.options.items()
    }
    return replace(one, arguments=tuple(arguments), options=options)


def _kinds(graph: Graph) -> list[tuple[str, int, list[str]]]:
    return [
        (operation.kind, len(operation.arguments), sorted(operation.options))
        for operation in graph.operations
    ]


def _given(operation: Operation) -> list[Any]:
    return [*operation.arguments, *operation.options.values()]


def _merged(one: Any, two: Any, own: dict[str, str]) -> Any:
    """An argument, and its twin's; None: there is no twin."""
    if isinstance(one, list | tuple):
        twins = two if isinstance(two, list | tuple) and len(two) == len(one) else [None] * len(one)
        return [_merged(*parts, own) for parts in zip(one, twins, strict=True)]
    return OWN if one == own != two else one
