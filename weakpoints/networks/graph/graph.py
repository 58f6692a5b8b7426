"""A classifier as data: pure operations of PyTorch in order, and the names of their parameters.

An argument is a number, a word, None, a list of arguments, or one of these:

    {"value": NAME}      what an earlier operation put out, or the picture
    {"parameter": NAME}  a tensor beside the graph
    {"batch": true}      how many pictures there are
    {"dtype": NAME}      of DTYPES, or "float": as the network's tensors
    {"device": true}     where the network's tensors are
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from weakpoints.errors import WeightsError

ACTIVATIONS = {  # where guided backpropagation clips: elementwise, and not linear
    *("relu", "relu6", "hardtanh", "leaky_relu", "elu", "selu", "celu", "prelu", "softplus"),
    *("silu", "gelu", "mish", "hardswish", "sigmoid", "hardsigmoid", "tanh", "clamp", "clamp_min"),
}
WEIGHTED = {"conv2d", "batch_norm", "linear", "layer_norm", "group_norm", "addmm"}
PURE = ACTIVATIONS | {
    # products and normalisations
    *("conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear", "matmul", "mm", "bmm", "mv"),
    *("addmm", "baddbmm", "einsum", "dot", "outer", "scaled_dot_product_attention"),
    *("batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm", "native_layer_norm"),
    *("native_group_norm", "_native_batch_norm_legit_no_training"),
    # of neighbours, and over an axis
    *("max_pool2d", "max_pool2d_with_indices", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d"),
    *(
        "adaptive_avg_pool2d",
        "adaptive_max_pool2d",
        "im2col",
        "col2im",
        "unfold",
        "upsample_nearest2d",
    ),
    *("upsample_bilinear2d", "upsample_bicubic2d", "mean", "sum", "amax", "amin", "max", "min"),
    *("prod", "var", "std", "var_mean", "std_mean", "norm", "linalg_vector_norm", "cumsum"),
    *("softmax", "_softmax", "log_softmax", "logsumexp", "sort", "topk", "argmax", "argsort"),
    # of each number
    *("add", "sub", "rsub", "mul", "div", "neg", "pow", "square", "sqrt", "rsqrt", "reciprocal"),
    *("exp", "expm1", "log", "log1p", "log2", "erf", "sin", "cos", "sign", "abs", "floor", "ceil"),
    *("round", "remainder", "fmod", "floor_divide", "maximum", "minimum", "clamp_max", "clip"),
    *("addcmul", "addcdiv", "lerp", "log_sigmoid", "glu", "threshold"),
    *("where", "masked_fill", "ne", "eq", "lt", "le", "gt", "ge", "logical_and", "logical_or"),
    *("logical_not", "bitwise_and", "bitwise_or", "bitwise_not", "isnan", "nan_to_num"),
    # only moved
    *("flatten", "view", "view_as", "reshape", "reshape_as", "_unsafe_view", "permute", "t"),
    *("transpose", "swapaxes", "movedim", "moveaxis", "squeeze", "unsqueeze", "unflatten"),
    *("expand", "expand_as", "repeat", "repeat_interleave", "tile", "cat", "concat", "stack"),
    *("slice", "select", "narrow", "chunk", "split", "split_with_sizes", "unbind", "flip", "roll"),
    *("index", "index_select", "gather", "take_along_dim", "diagonal", "tril", "triu", "pad"),
    *("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "pixel_shuffle"),
    *("pixel_unshuffle", "channel_shuffle", "slice_scatter", "select_scatter", "contiguous"),
    *("clone", "copy", "to", "_to_copy", "type_as", "lift_fresh_copy"),
    # made of nothing
    *("arange", "linspace", "meshgrid", "scalar_tensor", "full", "full_like", "fill", "zero"),
    *("zeros", "zeros_like", "new_zeros", "ones", "ones_like", "new_ones", "new_full", "eye"),
}
DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64"),
        *("bfloat16", "float16", "float32", "float64"),  # whatever the network's tensors are
    )
}
ON_NUMBERS: dict[str, Callable[..., Any]] = {
    "getitem": operator.getitem,
    **{f"int_{name}": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv")},
}


@dataclass(frozen=True)
class Operation:
    """name: of what it puts out. kind: `conv2d.default`, as PyTorch's own, or of ON_NUMBERS."""

    name: str
    kind: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    @property
    def family(self) -> str:
        return self.kind.partition(".")[0]

    @cached_property
    def inputs(self) -> list[str]:
        """The values it reads."""
        return [
            leaf["value"]
            for leaf in leaves([*self.arguments, *self.options.values()])
            if isinstance(leaf, dict) and "value" in leaf
        ]

    @property
    def parameters(self) -> list[str]:
        return [
            leaf["parameter"]
            for leaf in leaves([*self.arguments, *self.options.values()])
            if isinstance(leaf, dict) and "parameter" in leaf
        ]

    def replaced(self, values: Mapping[str, Any]) -> "Operation":
        """The same with other arguments in the place of the values of these names."""

        def replaced(argument: Any) -> Any:
            match argument:
                case {"value": name}:
                    return values.get(name, argument)
                case list() | tuple():
                    return [replaced(part) for part in argument]
            return argument

        options = {key: replaced(argument) for key, argument in self.options.items()}
        return Operation(self.name, self.kind, tuple(map(replaced, self.arguments)), options)

    def __call__(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor], batch: int) -> Any:
        def real(argument: Any) -> Any:
            match argument:
                case {"value": name}:
                    return values[name]
                case {"parameter": name}:
                    return tensors[name]
                case {"batch": _}:
                    return batch
                case {"dtype": _} | {"device": _}:
                    return as_others(argument, chain(values.values(), tensors.values()))
                case list() | tuple():
                    return [real(part) for part in argument]
            return argument

        options = {key: real(argument) for key, argument in self.options.items()}
        return function(self.kind)(*map(real, self.arguments), **options)


@dataclass(frozen=True)
class Graph:
    """picture: the input's name; output: the logits'."""

    picture: str
    operations: tuple[Operation, ...]
    output: str

    @property
    def parameters(self) -> set[str]:
        """The tensors that it reads."""
        return {name for operation in self.operations for name in operation.parameters}

    @property
    def weights(self) -> set[str]:
        """Those of them that a convolution, a normalisation or a linear layer reads."""
        return {
            name
            for operation in self.operations
            if operation.family in WEIGHTED
            for name in operation.parameters
        }

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raises WeightsError where an operation reads what is not there, or is none of ours."""
        known = {self.picture}
        for operation in self.operations:
            function(operation.kind)
            for name in operation.inputs:
                if name not in known:
                    raise WeightsError(
                        f"the graph's operation {operation.name!r} reads {name!r}, "
                        "which no operation before it puts out"
                    )
            for name in operation.parameters:
                if name not in tensors:
                    raise WeightsError(
                        f"the graph's operation {operation.name!r} wants the tensor {name!r}, "
                        "which the weights do not have"
                    )
            known.add(operation.name)
        if self.output not in known:
            raise WeightsError(f"no operation of the graph puts out {self.output!r}")


def as_others(argument: Mapping[str, Any], others: Iterable[Any]) -> Any:
    """The dtype or the device that an argument stands for: of the first floats among others.

    Raises KeyError where it stands for none.
    """
    floats = (one for one in others if isinstance(one, Tensor) and one.is_floating_point())
    like = next(floats, torch.zeros(()))
    if "device" in argument:
        return like.device
    return like.dtype if argument["dtype"] == "float" else DTYPES[argument["dtype"]]


def function(kind: str) -> Callable[..., Any]:
    """What PyTorch computes for it. Raises WeightsError where it is none of the pure ones."""
    if kind in ON_NUMBERS:
        return ON_NUMBERS[kind]
    if kind == "linear.default":
        return _linear
    # a view of what lies in memory in another order than in the module must be a copy
    kind = "reshape.default" if kind in ("view.default", "_unsafe_view.default") else kind
    family, _, overload = kind.partition(".")
    packet = getattr(torch.ops.aten, family, None) if family in PURE else None
    found: Callable[..., Any] | None = getattr(packet, overload, None) if overload else None
    if found is None:
        raise WeightsError(
            f"{kind!r} is no operation that a graph may have; it may have {', '.join(sorted(PURE))}"
        )
    return found


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Of tokens that lie sequence first, as in an attention's projection, PyTorch's own multiplies
    picture by picture with the weights repeated: three times as long as a copy and one product.
    """
    return F.linear(x.contiguous() if x.dim() > 2 else x, weight, bias)


def leaves(argument: Any) -> Iterator[Any]:
    """What is no list, of lists in lists."""
    if isinstance(argument, list | tuple):
        for part in argument:
            yield from leaves(part)
    else:
        yield argument
