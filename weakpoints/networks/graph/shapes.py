"""The shape of what an operation makes, on PyTorch's meta device, where nothing is computed.

There PyTorch answers some operations by its references in Python, and the first of these calls
imports its compiler: a second or two, of each start. Such operations get their shape here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from weakpoints.errors import WeightsError
from weakpoints.networks.graph.graph import ACTIVATIONS, Graph, Operation

ARITHMETIC = {"add", "sub", "mul", "div"}
BATCH = 3  # pictures of the trial on the meta device: a number that shapes rarely have
# What asks for more is a mistake or an attack.
LARGEST = 2**26  # numbers of one value, for one picture
PARTS = 2**16  # of a value that is split
NUMBER = 2**40  # of sizes that are multiplied
Shapes = Mapping[str, tuple[int, ...] | None]


def shapes_of(graph: Graph, tensors: Mapping[str, Tensor], side: int) -> Shapes:
    """Of every value, None where it is no tensor; nothing is computed or allocated."""
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    dtypes = (tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
    dtype = next(dtypes, torch.float32)
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


def made(
    operation: Operation, values: Mapping[str, Any], tensors: Mapping[str, Tensor], batch: int
) -> Any:
    """values, tensors: on the meta device. Raises what PyTorch does where shapes do not fit."""
    names = operation.inputs
    if operation.family in ACTIVATIONS and names:
        return _like(values[names[0]])
    if operation.family in ARITHMETIC:
        parts = [*(values[name] for name in names), *(tensors[p] for p in operation.parameters)]
        if len({getattr(part, "dtype", None) for part in parts} - {None}) == 1:
            return _broadcast([part for part in parts if isinstance(part, Tensor)])
    slid = _slid(operation, values, tensors)
    if slid is not None:
        return slid
    match operation.kind, operation.arguments:
        case "mean.dim", ({"value": name}, [*axes], *keep):
            return _mean(values[name], axes, keep=bool(keep and keep[0]))
        case "adaptive_avg_pool2d.default", ({"value": name}, [int() as height, int() as width]):
            return values[name].new_empty(*values[name].shape[:-2], height, width)
        case "linear.default", ({"value": name}, {"parameter": weight}, *bias) if values[
            name
        ].shape[-1] == tensors[weight].shape[-1] and all(
            _fits(argument, tensors, len(tensors[weight])) for argument in bias
        ):
            return values[name].new_empty(*values[name].shape[:-1], len(tensors[weight]))
        case "batch_norm.default", ({"value": name}, *_) if (
            len({values[name].shape[1], *(len(tensors[p]) for p in operation.parameters)}) == 1
        ):
            return _like(values[name])
        case "layer_norm.default", ({"value": name}, [*sizes], *_) if [
            *values[name].shape[-len(sizes) :]
        ] == sizes and all([*tensors[p].shape] == sizes for p in operation.parameters):
            return values[name].new_empty(values[name].shape)
        case "pad.default" | "constant_pad_nd.default", ({"value": name}, [*rim], *_) if (
            len(rim) == 4 and min(rim) >= 0 and values[name].dim() == 4
        ):
            left, right, top, bottom = rim
            n, c, height, width = values[name].shape
            return values[name].new_empty(n, c, height + top + bottom, width + left + right)
        case "cat.default", ([*_], *axis) if len(names) > 1:
            return _joined([values[name] for name in names], axis[0] if axis else 0)
    return operation(values, tensors, batch)


def _slid(
    operation: Operation, values: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Tensor | None:
    """What a convolution or a pool makes; None where PyTorch has to be asked, or would refuse."""
    match operation.kind, operation.arguments:
        case "conv2d.default", ({"value": name}, {"parameter": weight}, *rest):
            given: list[Any] = [*rest, *(None, 1, 0, 1, 1)[len(rest) :]]
            bias, *sizes, groups = given
            x, (count, depth, *kernel) = values[name], tensors[weight].shape
            fits = _fits(bias, tensors, count) and x.dtype == tensors[weight].dtype
            fits &= count % max(groups, 1) == 0 and x.shape[1:2] == (depth * groups,)
        case "max_pool2d.default", ({"value": name}, kernel, *rest):
            given = [*rest, *(kernel, 0, 1, False)[len(rest) :]]
            *sizes, ceil = given
            x = values[name]
            count, fits = x.shape[1], not ceil and 2 * max(_pair(sizes[1])) <= min(_pair(kernel))
        case _:
            return None
    if not fits or x.dim() != 4:
        return None
    axes = zip(x.shape[2:], *map(_pair, (kernel, *sizes)), strict=True)
    out = [
        (size + 2 * rim - holes * (taps - 1) - 1) // step + 1 if min(taps, step, holes) > 0 else 0
        for size, taps, step, rim, holes in axes
    ]
    return x.new_empty(len(x), count, *out) if min(out) > 0 else None


def _pair(sizes: int | Sequence[int]) -> Sequence[int]:
    """Of y and x. One number is both."""
    return [sizes, sizes] if isinstance(sizes, int) else [*sizes, *sizes][:2]


def _like(value: Tensor) -> Tensor:
    return value.new_empty_strided(value.shape, value.stride())


def _fits(bias: Any, tensors: Mapping[str, Tensor], length: int) -> bool:
    """False also for a bias that is computed: PyTorch looks at it then."""
    match bias:
        case None:
            return True
        case {"parameter": name}:
            return tensors[name].shape == (length,)
    return False


def _broadcast(inputs: list[Tensor]) -> Tensor:
    """In the order in memory of the first input that has the whole shape, as PyTorch has it."""
    shape = torch.broadcast_tensors(*inputs)[0].shape  # type: ignore[no-untyped-call]
    whole = next((value for value in inputs if value.shape == shape), inputs[0])
    return _like(whole) if whole.shape == shape else whole.new_empty(shape)


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
