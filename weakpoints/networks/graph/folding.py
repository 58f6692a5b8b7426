"""The same function with fewer operations: constants are computed once, batch-norms are folded."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from weakpoints.networks.graph.graph import Graph, Operation


@torch.inference_mode(mode=False)
def without_constants(graph: Graph, tensors: dict[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """What depends on tensors of the network alone is computed once."""
    constants: dict[str, Any] = {}
    operations = []
    for operation in graph.operations:
        operation = operation.replaced(constants)
        if operation.inputs or "'batch'" in str([operation.arguments, operation.options]):
            operations.append(operation)
            continue
        out = operation({}, tensors, 0)
        if isinstance(out, Tensor):
            name = f"constant {operation.name}"
            tensors[name], constants[operation.name] = out.detach(), {"parameter": name}
        elif isinstance(out, int | float):
            constants[operation.name] = out
        else:
            operations.append(operation)
    return Graph(graph.picture, tuple(operations), graph.output), tensors


def folded(graph: Graph, tensors: dict[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """Each batch-norm that alone reads a convolution is multiplied into it."""
    makers = {op.name: op for op in graph.operations}
    readers = Counter(name for op in graph.operations for name in op.inputs)
    replaced: dict[str, Operation] = {}
    for norm in graph.operations:
        maker = makers.get(norm.inputs[0]) if norm.family == "batch_norm" else None
        if maker is None or maker.family != "conv2d" or readers[maker.name] != 1:
            continue
        x, weight, *rest = maker.arguments
        _, scale, shift, mean, variance, _, _, eps, *_ = norm.arguments
        given = (weight, rest[0] if rest else None, mean, variance, scale, shift)
        if not all(_is_tensor(argument) for argument in given) or None in given[2:4]:
            continue
        own, bias, *statistics, scale, shift = (_tensor(argument, tensors) for argument in given)
        assert own is not None
        mean, variance = (statistic for statistic in statistics if statistic is not None)
        folded = fuse_conv_bn_weights(own, bias, mean, variance, eps, scale, shift)
        tensors[f"{norm.name}.weight"], tensors[f"{norm.name}.bias"] = (t.detach() for t in folded)
        arguments = (x, *({"parameter": f"{norm.name}.{n}"} for n in ("weight", "bias")), *rest[1:])
        replaced[maker.name] = Operation(norm.name, maker.kind, arguments, maker.options)
        replaced[norm.name] = replaced[maker.name]
    operations = []
    for op in graph.operations:
        if op.family == "batch_norm" and op.name in replaced:
            continue  # it is in the convolution's place
        operations.append(replaced.get(op.name, op))
    return Graph(graph.picture, tuple(operations), graph.output), tensors


def _is_tensor(argument: Any) -> bool:
    return argument is None or (isinstance(argument, dict) and "parameter" in argument)


def _tensor(argument: Any, tensors: Mapping[str, Tensor]) -> Tensor | None:
    return None if argument is None else tensors[argument["parameter"]]
