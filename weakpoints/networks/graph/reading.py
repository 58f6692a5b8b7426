"""Single operations of a graph that are a layer of a table, read from their arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor

from weakpoints.networks.graph.graph import Operation
from weakpoints.networks.network import AveragePool, Conv, Linear, MaxPool


@dataclass(frozen=True)
class Section:
    """Operations between two cuts: from the value `entry` to the value `exit`."""

    operations: tuple[Operation, ...]
    entry: str
    exit: str

    @property
    def family(self) -> str:
        """Of its single operation; of several there is none."""
        return self.operations[0].family if len(self.operations) == 1 else ""


def conv(section: Section, tensors: Mapping[str, Tensor]) -> Conv | None:
    """None where it has another stride or padding on one axis, or is dilated."""
    if section.family != "conv2d" or section.operations[0].options:
        return None
    defaults = (None, None, None, [1, 1], [0, 0], [1, 1], 1)
    arguments = section.operations[0].arguments
    given = (*arguments, *defaults[len(arguments) :])
    _, weight, bias, stride, padding, dilation, groups = given
    if not all(isinstance(size, list) for size in (stride, padding, dilation)):
        return None
    if not (_is_parameter(weight) and (bias is None or _is_parameter(bias))):
        return None
    sizes = [list(size) * (2 // len(size)) for size in (stride, padding, dilation)]
    tensor = tensors[weight["parameter"]]
    if any(y != x for y, x in (*sizes, tensor.shape[2:])) or sizes[2] != [1, 1]:
        return None
    own = None if bias is None else tensors[bias["parameter"]]
    return Conv(tensor, own, sizes[0][0], sizes[1][0], False, inf, groups)


def linear(section: Section, tensors: Mapping[str, Tensor]) -> Linear | None:
    """With a bias; the weight as it is."""
    _, *given = section.operations[0].arguments
    if section.operations[0].options or len(given) != 2 or not all(map(_is_parameter, given)):
        return None
    weight, bias = (tensors[argument["parameter"]] for argument in given)
    return Linear(weight, bias, relu=False)


def _is_parameter(argument: Any) -> bool:
    return isinstance(argument, dict) and "parameter" in argument


def ceiling(section: Section) -> float | None:
    """Of a ReLU; of one without, infinity. None: it is another operation."""
    if len(section.operations) != 1 or section.operations[0].options:
        return None
    match section.operations[0].kind, section.operations[0].arguments[1:]:
        case ("relu.default", _) | ("clamp_min.default" | "clamp.default", (0,)):
            return inf
        case "relu6.default", _:
            return 6
        case "hardtanh.default" | "clamp.default", (0, int() | float() as highest) if highest > 0:
            return highest
    return None


def padding(section: Section) -> tuple[int, int] | None:
    """Zeros before and behind both axes, at least as many behind."""
    if section.family not in ("pad", "constant_pad_nd") or section.operations[0].options:
        return None
    _, sizes, *rest = section.operations[0].arguments
    zeros = rest in ([], [0], ["constant"], ["constant", None], ["constant", 0])
    if not zeros or len(sizes) != 4 or not all(isinstance(size, int) for size in sizes):
        return None
    left, right, top, bottom = sizes
    return (left, right) if (left, right) == (top, bottom) and 0 <= left <= right else None


def max_pool(section: Section) -> MaxPool | None:
    if section.family != "max_pool2d" or section.operations[0].options:
        return None
    defaults: tuple[Any, ...] = (None, None, [], [0, 0], [1, 1], False)
    given = section.operations[0].arguments
    _, kernel, stride, padding, dilation, ceil = (*given, *defaults[len(given) :])
    sizes = [kernel, stride or kernel, padding, dilation]
    if ceil or not all(isinstance(size, list) and len(set(size)) == 1 for size in sizes):
        return None
    return MaxPool(kernel[0], sizes[1][0], padding[0]) if dilation[0] == 1 else None


def average(section: Section) -> AveragePool | None:
    """Over the whole map, or adaptive."""
    if len(section.operations) != 1 or section.operations[0].options:
        return None
    match section.operations[0].kind, section.operations[0].arguments[1:]:
        case "adaptive_avg_pool2d.default", ([int() as height, int() as width],):
            return AveragePool(height) if height == width else None
        case "mean.dim", (axes, *_) if sorted(axes) in ([2, 3], [-2, -1]):
            return AveragePool(1)
    return None
