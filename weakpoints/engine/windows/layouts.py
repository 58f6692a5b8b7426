"""Where the pixels of a value are: which of its axes are y and x, and what keeps them apart.

An operation is pixelwise where a pixel of its output depends on the same pixel of its inputs alone:
activations, sums, concatenations, shuffles of channels, linear layers over the channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor

from weakpoints.engine.windows.calls import HEIGHT, WIDTH
from weakpoints.networks.graph.graph import ACTIVATIONS, Operation

ELEMENTWISE = ACTIVATIONS | {
    *("add", "sub", "rsub", "mul", "div", "neg", "pow", "sqrt", "rsqrt", "exp", "abs"),
    *("square", "reciprocal", "expm1", "log", "log1p", "erf", "sin", "cos", "sign", "clip"),
    *("clamp_max", "maximum", "minimum", "to", "type_as", "contiguous", "clone"),
}
ON_CHANNELS = {"batch_norm", "prelu", "channel_shuffle"}  # whatever the axes behind the second are
PARTS = {"chunk", "split", "split_with_sizes"}
SHAPES = {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze"}
OVER_AXES = {"mean", "amax", "sum", "softmax"}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """axis: the number of y's; x's is the next. height, width: of the whole map."""

    axis: int
    height: int
    width: int


def after(
    operation: Operation,
    layouts: Mapping[str, Layout | None],
    values: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    out: Any,
) -> Layout | None:
    """Of what a pixelwise operation puts out; None where it is not known to be pixelwise.

    values, out: for their shapes alone.
    """
    if not operation.inputs or any(layouts[name] is None for name in operation.inputs):
        return None
    family, first = operation.family, operation.inputs[0]
    layout, value = layouts[first], values[first]
    if layout is None:
        return None
    if family == "getitem":
        return layout
    if family == "cat":
        same = all(layouts[name] == layout for name in operation.inputs)
        return layout if same and _apart(_given(operation, 1, "dim", 0), value, layout) else None
    if not isinstance(value, Tensor):
        return None
    if family in PARTS or family == "slice":
        at = 1 if family == "slice" else 2
        return layout if _apart(_given(operation, at, "dim", 0), value, layout) else None
    if not isinstance(out, Tensor):
        return None
    if family in ON_CHANNELS:
        return layout if layout.axis > 1 else None
    if family in ("linear", "layer_norm"):
        channels = len(operation.arguments[1]) if family == "layer_norm" else 1
        return layout if layout.axis + 1 < value.dim() - channels else None
    if family in OVER_AXES:
        dims = _given(operation, 1, "dim", None)
        dims = [dims] if isinstance(dims, int) else dims or range(value.dim())
        kept = out.dim() == value.dim() and all(_apart(dim, value, layout) for dim in dims)
        return layout if kept else None
    if family in SHAPES:
        return _reshaped(tuple(value.shape), tuple(out.shape), layout)
    if family in ("permute", "transpose", "movedim", "swapaxes"):
        return _permuted(operation, value, layout)
    if family in ELEMENTWISE:
        return _joined(operation, layouts, values, tensors, out)
    return None


def sized(operation: Operation, layout: Layout) -> Operation:
    """A reshaping operation with names for the sizes of its output's y and x."""
    at = {"view": 1, "reshape": 1, "_unsafe_view": 1, "unflatten": 2}.get(operation.family)
    if at is None:
        return operation
    sizes = list(operation.arguments[at])
    start = operation.arguments[1] if operation.family == "unflatten" else 0
    for place, name in ((layout.axis - start, HEIGHT), (layout.axis + 1 - start, WIDTH)):
        if 0 <= place < len(sizes) and sizes[place] != -1:
            sizes[place] = {"value": name}
    arguments = (*operation.arguments[:at], sizes, *operation.arguments[at + 1 :])
    return Operation(operation.name, operation.kind, arguments, operation.options)


def _given(operation: Operation, at: int, name: str, default: Any) -> Any:
    if len(operation.arguments) > at:
        return operation.arguments[at]
    return operation.options.get(name, default)


def _apart(dim: Any, value: Tensor, layout: Layout) -> bool:
    """Whether the axis `dim` is neither the pictures' nor a pixel's."""
    return isinstance(dim, int) and dim % value.dim() not in (0, layout.axis, layout.axis + 1)


def _reshaped(before: Shape, shape: Shape, layout: Layout) -> Layout | None:
    """Where as many numbers lie before y as in the input, and y and x have their sizes."""
    ahead, pixels = prod(before[1 : layout.axis]), (layout.height, layout.width)
    for axis in range(len(shape) - 2, 0, -1):
        if shape[axis : axis + 2] == pixels and prod(shape[1:axis]) == ahead:
            return Layout(axis, *pixels) if shape[0] == before[0] else None
    return None


def _permuted(operation: Operation, value: Tensor, layout: Layout) -> Layout | None:
    """Looked up on a tensor whose sizes are all different."""
    shape = range(2, value.dim() + 2)
    arguments = [shape_of(part) for part in operation.arguments[1:]]
    turned = getattr(value.new_empty(tuple(shape)), operation.family)(*arguments)
    y, x = (list(turned.shape).index(shape[axis]) for axis in (layout.axis, layout.axis + 1))
    kept = turned.shape[0] == shape[0] and x == y + 1
    return Layout(y, layout.height, layout.width) if kept else None


def shape_of(argument: Any) -> Any:
    return tuple(argument) if isinstance(argument, list) else argument


def _joined(
    operation: Operation,
    layouts: Mapping[str, Layout | None],
    values: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    out: Tensor,
) -> Layout | None:
    """Of inputs that are broadcast to the output's shape: each has all pixels, or the same for all
    pixels where it is a tensor of the network's.
    """
    first = layouts[operation.inputs[0]]
    if first is None:
        return None
    layout = Layout(out.dim() - _behind(values[operation.inputs[0]], first), *_pixels(first))
    for name in operation.inputs:
        mine, value = layouts[name], values[name]
        if mine is None or not isinstance(value, Tensor) or _pixels(mine) != _pixels(layout):
            return None
        if _behind(value, mine) != out.dim() - layout.axis:
            return None
    for name in operation.parameters:
        sizes = (1,) * (out.dim() - tensors[name].dim()) + tuple(tensors[name].shape)
        if sizes[layout.axis : layout.axis + 2] != (1, 1):
            return None
    return layout


def _behind(value: Tensor, layout: Layout) -> int:
    """Axes from y on: broadcasting counts from the last."""
    return value.dim() - layout.axis


def _pixels(layout: Layout) -> Sequence[int]:
    return layout.height, layout.width
