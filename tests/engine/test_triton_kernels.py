"""The Triton kernels against their twins in PyTorch: interpreted on a CPU, compiled where there is
a GPU.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.tables import network_of
from weakpoints.engine.engine import Incremental
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.tiles import kernels
from weakpoints.engine.tiles.cuda_graphs import unrecorded
from weakpoints.networks.network import Conv

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def interpreted() -> Iterator[ModuleType]:
    """`weakpoints.engine.tiles.triton_kernels` once more, as Triton runs it: program by
    program, without a compiler.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec = importlib.util.spec_from_file_location(
            "interpreted", Path(kernels.__file__).with_name("triton_kernels.py")
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 70), st.integers(1, 9), st.integers(1, 150), st.data())
def test_rows_are_gathered_and_their_largest_taken_whatever_the_shapes(
    interpreted: ModuleType, rows: int, among: int, channels: int, data: st.DataObject
) -> None:
    table = drawn(data.draw(st.integers(1, 40)), channels)
    index = torch.randint(
        len(table), (rows, among), generator=torch.Generator().manual_seed(1), dtype=torch.int32
    )
    out = torch.full((rows, channels), torch.nan)
    interpreted.largest_rows(table, index, out)
    assert torch.equal(out, table[index.long()].amax(1))


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (130, 64)])
def test_bias_and_relu_are_what_pytorch_makes_of_them(
    interpreted: ModuleType, shape: tuple[int, int], has_bias: bool, relu: bool
) -> None:
    y, bias, out = (
        drawn(*shape),
        drawn(shape[1], seed=1) if has_bias else None,
        torch.full(shape, torch.nan),
    )
    expected = torch.empty(shape)
    layer = Conv(torch.empty(shape[1], 1, 1, 1), bias, stride=1, padding=0, relu=relu)
    kernels.finish(y[None], layer, expected[None], Scratch(y))
    interpreted.biased(y, bias, out, relu=relu)
    assert torch.equal(out, expected)


def test_what_is_not_a_number_stays_none_so_that_an_overflow_is_noticed(
    interpreted: ModuleType,
) -> None:
    y, bias = torch.tensor([[torch.nan, -1.0, 2.0, -torch.inf]]), torch.zeros(4)
    out = torch.empty_like(y)
    interpreted.biased(y, bias, out, relu=True)
    torch.testing.assert_close(out, (y + bias).relu(), equal_nan=True)
    for table in (torch.tensor([[torch.nan], [1.0]]), torch.tensor([[1.0], [torch.nan]])):
        interpreted.largest_rows(table, torch.tensor([[0, 1]], dtype=torch.int32), out[:1, :1])
        assert out[0, 0].isnan()


def test_a_whole_occlusion_through_the_kernels_is_that_of_their_twins(
    interpreted: ModuleType, module: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, corners = network_of(module), ((0, 0), (9, 3), (27, 27))
    colours = drawn(3, 3).double()
    expected = Incremental(network).logits(network.trace(x), corners, 5, colours)
    monkeypatch.setattr(kernels, "triton_kernels", lambda: interpreted)
    monkeypatch.setattr(kernels, "fuses", lambda table, scratch: True)
    engine = Incremental(network, recorder=unrecorded())  # in values, as on a GPU
    found = engine.logits(network.trace(x), corners, 5, colours)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_compiled_kernels_are_their_twins() -> None:
    from weakpoints.engine.tiles import triton_kernels

    table, index = (
        drawn(500, 96).cuda().half(),
        torch.randint(500, (3000, 4), dtype=torch.int32).cuda(),
    )
    out = torch.full((3000, 96), torch.nan, dtype=torch.half, device="cuda")
    triton_kernels.largest_rows(table, index, out)
    assert torch.equal(out, table[index.long()].amax(1))
    bias, done = drawn(96).cuda().half(), torch.empty_like(out)
    triton_kernels.biased(out, bias, done, relu=True)
    torch.testing.assert_close(done, (out + bias).relu(), rtol=1e-3, atol=1e-3)
