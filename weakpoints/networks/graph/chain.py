"""A graph as a chain of layers, cut wherever all passes through a single value.

Convolutions with what follows them, pools and linear layers are the layers that the engine knows;
whatever else lies between two cuts is a `Segment`.
"""

from collections.abc import Mapping
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from weakpoints.errors import WeightsError
from weakpoints.networks.graph.graph import Graph, Operation
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.graph.shapes import made
from weakpoints.networks.network import Conv, Network

# What asks for more is a mistake or an attack.
LARGEST = 2**26  # numbers of one value, for one picture
PARTS = 2**16  # of a value that is split
NUMBER = 2**40  # of sizes that are multiplied


def network_of_graph(graph: Graph, tensors: Mapping[str, Tensor], side: int) -> Network:
    """The network; raises WeightsError where graph and tensors do not fit, before any is used."""
    graph.check(tensors)
    shapes = _shapes(graph, tensors, side)
    graph, tensors = _folded(graph, dict(tensors))
    layers, entry, start = [], graph.picture, 0
    last_read = {name: i for i, op in enumerate(graph.operations) for name in op.inputs}
    last_read[graph.output] = len(graph.operations)
    live = 1  # values that are still to be read
    for i, operation in enumerate(graph.operations):
        live += operation.name in last_read
        live -= sum(last_read[name] == i for name in set(operation.inputs))
        if live == 1 and operation.name in last_read and _is_batch(shapes[operation.name]):
            part = graph.operations[start : i + 1]
            layers.append(_layer(part, tensors, entry, operation.name))
            entry, start = operation.name, i + 1
    return Network(tuple(layers))


def _is_batch(shape: tuple[int, ...] | None) -> bool:
    return shape is not None and len(shape) > 1 and shape[0] == BATCH


BATCH = 3  # pictures of the trial on the meta device: a number that shapes rarely have


def _shapes(
    graph: Graph, tensors: Mapping[str, Tensor], side: int
) -> dict[str, tuple[int, ...] | None]:
    """Of every value, None where it is no tensor; nothing is computed or allocated."""
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    like = next(iter(on_meta.values()), torch.empty((), device="meta"))
    dtype = like.dtype if like.is_floating_point() else torch.float32
    values: dict[str, Any] = {
        graph.picture: torch.empty(BATCH, 3, side, side, device="meta", dtype=dtype)
    }
    for operation in graph.operations:
        _check_parts(operation, values)
        try:
            out = made(operation, values, on_meta, BATCH)
        except Exception as error:  # shapes that do not fit raise almost anything
            reason = str(error).strip().splitlines()[0][:200]
            raise WeightsError(
                f"the graph's {operation.name!r} can't be computed: {reason}"
            ) from error
        if isinstance(out, Tensor) and out.numel() > BATCH * LARGEST:
            raise WeightsError(
                f"the graph's {operation.name!r} would hold {out.numel() // BATCH} numbers; "
                f"at most {LARGEST} are allowed",
                limit=LARGEST,
                actual=out.numel() // BATCH,
            )
        if isinstance(out, int) and abs(out) > NUMBER:
            raise WeightsError(
                f"the graph's {operation.name!r} is a number beyond {NUMBER}", limit=NUMBER
            )
        values[operation.name] = out
    return {
        name: tuple(out.shape) if isinstance(out, Tensor) else None for name, out in values.items()
    }


def _check_parts(operation: Operation, values: Mapping[str, Any]) -> None:
    """Raises WeightsError before a list is made that alone would fill the memory."""
    if operation.family not in ("split", "split_with_sizes", "chunk", "unbind"):
        return
    longest = max(
        (max(getattr(values[name], "shape", ()), default=0) for name in operation.inputs), default=0
    )
    if longest > PARTS:
        raise WeightsError(
            f"the graph's {operation.name!r} splits an axis of {longest}; at most {PARTS} are "
            "allowed",
            limit=PARTS,
            actual=longest,
        )


def _folded(graph: Graph, tensors: dict[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """Each batch-norm that alone reads a convolution is multiplied into it."""
    makers = {op.name: op for op in graph.operations}
    readers: dict[str, int] = {}
    for op in graph.operations:
        for name in op.inputs:
            readers[name] = readers.get(name, 0) + 1
    replaced: dict[str, Operation] = {}
    for norm in graph.operations:
        maker = makers.get(norm.inputs[0]) if norm.family == "batch_norm" else None
        if maker is None or maker.family != "conv2d" or readers[maker.name] != 1:
            continue
        x, weight, *rest = maker.arguments
        bias = _tensor(rest[0], tensors) if rest else None
        _, scale, shift, mean, variance, _, _, eps, *_ = norm.arguments
        mean, variance = (tensors[statistic["parameter"]] for statistic in (mean, variance))
        scale, shift = (_tensor(argument, tensors) for argument in (scale, shift))
        folded = fuse_conv_bn_weights(
            tensors[weight["parameter"]], bias, mean, variance, eps, scale, shift
        )
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


def _tensor(argument: Any, tensors: Mapping[str, Tensor]) -> Tensor | None:
    return None if argument is None else tensors[argument["parameter"]]


def _layer(
    part: tuple[Operation, ...], tensors: Mapping[str, Tensor], entry: str, name: str
) -> Conv | Segment:
    if len(part) == 1 and part[0].kind == "conv2d.default":
        conv = _conv(part[0], tensors)
        if conv is not None:
            return conv
    mine = {key: tensors[key] for op in part for key in op.parameters}
    return Segment(part, mine, entry, name)


def _conv(operation: Operation, tensors: Mapping[str, Tensor]) -> Conv | None:
    """None where it has another stride or padding on one axis, or is dilated."""
    defaults = (None, None, None, [1, 1], [0, 0], [1, 1], 1)
    given = (*operation.arguments, *defaults[len(operation.arguments) :])
    _, weight, bias, stride, padding, dilation, groups = given
    sizes = [list(size) * (2 // len(size)) for size in (stride, padding, dilation)]
    tensor = tensors[weight["parameter"]]
    if any(y != x for y, x in (*sizes, tensor.shape[2:])) or sizes[2] != [1, 1]:
        return None
    return Conv(tensor, _tensor(bias, tensors), sizes[0][0], sizes[1][0], False, inf, groups)
