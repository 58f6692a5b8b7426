"""Shapes by `made` are those that PyTorch makes."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from weakpoints.networks.graph.graph import Operation
from weakpoints.networks.graph.shapes import _slid, made

V = {"value": "x"}
CASES: dict[str, tuple[Any, ...]] = {
    "relu.default": (V,),
    "hardtanh.default": (V, 0.0, 6.0),
    "prelu.default": (V, {"parameter": "slope"}),
    "add.Tensor": (V, V),
    "mul.Tensor": (V, {"value": "gate"}),
    "div.Tensor": (V, 2),
    "sub.Tensor": (V, {"parameter": "bias"}),
    "cat.default": ([V, V], 1),
    "mean.dim": (V, [2, 3], True),
    "adaptive_avg_pool2d.default": (V, [1, 1]),
    "max_pool2d.default": (V, [2, 2]),
    "conv2d.default": (V, {"parameter": "kernels"}, {"parameter": "outputs"}, [2, 1], [1, 0]),
    "batch_norm.default": (V, *[{"parameter": "slope"}] * 4, False, 0.1, 1e-5, True),
    "layer_norm.default": (V, [5], {"parameter": "last"}, {"parameter": "last"}, 1e-6),
    "pad.default": (V, [1, 2, 0, 3]),
    "constant_pad_nd.default": (V, [1, 2, 0, 3], 0.0),
    "linear.default": (V, {"parameter": "weight"}, {"parameter": "outputs"}),
    "permute.default": (V, [0, 2, 3, 1]),
}


OTHER_ORDER = {"linear", "mean", "adaptive_avg_pool2d", "cat", "pad", "constant_pad_nd"}
OTHER_ORDER |= {"conv2d", "max_pool2d"}


def tensors(device: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    x = torch.zeros(3, 4, 6, 5).contiguous(memory_format=torch.channels_last)
    values = {"x": x, "gate": torch.zeros(3, 4, 1, 1)}
    parameters = {"slope": torch.zeros(4), "bias": torch.zeros(4, 1, 1)}
    parameters |= {"last": torch.zeros(5)}
    parameters |= {"weight": torch.zeros(7, 5), "outputs": torch.zeros(7)}
    parameters |= {"kernels": torch.zeros(7, 4, 3, 2)}
    return (
        {name: value.to(device) for name, value in values.items()},
        {name: value.to(device) for name, value in parameters.items()},
    )


@pytest.mark.parametrize("kind", CASES)
def test_the_shape_type_and_order_in_memory_are_pytorch_s(kind: str) -> None:
    operation = Operation("y", kind, CASES[kind], {})
    shown, real = made(operation, *tensors("meta"), 3), operation(*tensors("cpu"), 3)
    assert shown.is_meta
    assert (shown.shape, shown.dtype) == (real.shape, real.dtype)
    if kind.partition(".")[0] not in OTHER_ORDER:
        assert shown.stride() == real.stride()


def test_shapes_that_do_not_fit_are_refused_as_pytorch_does() -> None:
    values, parameters = tensors("meta")
    values["gate"] = torch.empty(3, 7, 1, 1, device="meta")
    with pytest.raises(RuntimeError):
        made(Operation("y", "mul.Tensor", CASES["mul.Tensor"], {}), values, parameters, 3)


def test_maps_that_differ_are_not_joined() -> None:
    values, parameters = tensors("meta")
    values["gate"] = torch.empty(3, 7, 2, 2, device="meta")
    both = Operation("y", "cat.default", ([V, {"value": "gate"}], 1), {})
    with pytest.raises(RuntimeError, match="concatenated"):
        made(both, values, parameters, 3)


@given(
    *[st.integers(1, 9)] * 2,
    st.lists(st.integers(0, 4), min_size=4, max_size=8),
    st.sampled_from(["conv2d", "max_pool2d"]),
    st.booleans(),
)
def test_windows_slide_as_pytorch_s_do_or_pytorch_is_asked(
    height: int, width: int, numbers: list[int], family: str, ceil: bool
) -> None:
    kernel, stride, padding, dilation = (
        [*numbers, 1, 1, 1, 1][:8:2],
        *[[*numbers, 1, 0, 1, 1][i : i + 2] for i in (1, 2, 3)],
    )
    values = {"x": torch.zeros(3, 4, height, width)}
    weight = torch.zeros(6, 2, *kernel[:2])
    if family == "conv2d":
        arguments: tuple[Any, ...] = (V, {"parameter": "w"}, None, stride, padding, dilation, 2)
    else:
        arguments = (V, kernel[:2], stride, padding, dilation, ceil)
    operation = Operation("y", f"{family}.default", arguments, {})
    try:
        real = operation(values, {"w": weight}, 3).shape
    except RuntimeError:
        real = None
    slid = _slid(operation, {"x": values["x"].to("meta")}, {"w": weight.to("meta")})
    assert slid is None or slid.shape == real


def test_none_of_them_imports_the_compiler() -> None:
    program = """
import sys
from tests.networks.graph.test_shapes import CASES, made, tensors, Operation
for kind, arguments in CASES.items():
    made(Operation("y", kind, arguments, {}), *tensors("meta"), 3)
print({"torch._dynamo", "sympy"} & {*sys.modules})
"""
    answer = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert answer.strip() == "set()"
