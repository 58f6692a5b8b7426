"""Convolutions, pools and padding, read from the arguments of a graph's operations."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from weakpoints.engine.windows.neighbours import (
    AveragePool,
    Convolution,
    MaxPool,
    Padding,
    Pair,
    geometry,
)
from weakpoints.networks.graph.graph import Operation


def convolution(
    operation: Operation, tensors: Mapping[str, Tensor], inputs: Pair, rim: Pair, outputs: Pair
) -> Convolution | None:
    """rim: zeros above and to the left of the input, beside the convolution's own padding."""
    _, weight, bias, stride, padding, dilation, groups = _arguments(
        operation, ("weight", None), ("bias", None), ("stride", 1), ("padding", 0),
        ("dilation", 1), ("groups", 1),
    )  # fmt: skip
    if not all(given is None or "parameter" in given for given in (weight, bias)) or not weight:
        return None  # computed: not the same for all windows, or not known before
    kernels, dilations = tensors[weight["parameter"]], _pair(dilation)
    reach = _reach((kernels.shape[2], kernels.shape[3]), dilations)
    if padding == "same":
        own = ((reach[0] - 1) // 2, (reach[1] - 1) // 2)
    else:
        own = (0, 0) if padding == "valid" else _pair(padding)
    before = (own[0] + rim[0], own[1] + rim[1])
    is_matrix = kernels.shape[2:] == (1, 1) and groups == 1
    return Convolution(
        geometry(reach, _pair(stride), before, inputs, outputs),
        kernels,
        None if bias is None else tensors[bias["parameter"]],
        dilations,
        groups,
        kernels.flatten(1).t().contiguous() if is_matrix else None,
    )


def max_pool(operation: Operation, inputs: Pair, outputs: Pair) -> MaxPool | None:
    _, size, stride, padding, dilation, _ = _arguments(
        operation, ("kernel_size", None), ("stride", None), ("padding", 0), ("dilation", 1),
        ("ceil_mode", False),
    )  # fmt: skip
    kernel, dilations = _pair(size), _pair(dilation)
    reach = _reach(kernel, dilations)
    stride = _pair(stride) if stride else kernel
    return MaxPool(geometry(reach, stride, _pair(padding), inputs, outputs), kernel, dilations)


def average_pool(operation: Operation, inputs: Pair, outputs: Pair) -> AveragePool | None:
    """None where windows at the rim are divided by other numbers than those inside."""
    _, size, stride, padding, ceil, counts_padding, divisor = _arguments(
        operation, ("kernel_size", None), ("stride", None), ("padding", 0), ("ceil_mode", False),
        ("count_include_pad", True), ("divisor_override", None),
    )  # fmt: skip
    kernel, before = _pair(size), _pair(padding)
    if (any(before) and not counts_padding) or divisor is not None:
        return None
    reach = geometry(kernel, _pair(stride) if stride else kernel, before, inputs, outputs)
    overhangs = any(reach.behind[i] > before[i] for i in range(2))
    return None if ceil and overhangs else AveragePool(reach)


def padding(operation: Operation, inputs: Pair, outputs: Pair) -> Padding | None:
    names = (("mode", "constant"),) if operation.family == "pad" else ()
    _, sizes, *mode, value = _arguments(operation, ("pad", ()), *names, ("value", 0))
    numbers = [*sizes, 0, 0, 0, 0][:4]
    if len(sizes) > 4 or mode not in ([], ["constant"]) or min(numbers) < 0:
        return None
    left, _, top, _ = numbers
    reach = geometry((1, 1), (1, 1), (top, left), inputs, outputs)
    return Padding(reach, float(value or 0))


def _arguments(operation: Operation, *names: tuple[str, Any]) -> tuple[Any, ...]:
    """By place or by name, or their defaults; the first is the map itself."""
    given = operation.arguments
    return (
        given[0],
        *(
            given[i] if i < len(given) else operation.options.get(name, default)
            for i, (name, default) in enumerate(names, 1)
        ),
    )


def _pair(size: Any) -> Pair:
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[-1]))


def _reach(kernel: Pair, dilation: Pair) -> Pair:
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1
