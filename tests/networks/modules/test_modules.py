"""The modules whose graphs are shipped, and the tables of the tests."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests import oracle
from tests.conftest import toy_efficientnet_lite, toy_vgg
from tests.tables import network_of
from weakpoints.networks.modules.efficientnet_lite import same_padding
from weakpoints.networks.modules.small_vgg import fold_batch_norm


def test_the_table_computes_what_torchvision_computes(module: nn.Module, x: torch.Tensor) -> None:
    expected = module(x)
    torch.testing.assert_close(network_of(module).logits(x), expected, rtol=1e-10, atol=1e-10)


def test_building_a_table_leaves_the_module_alone(module: nn.Module, x: torch.Tensor) -> None:
    before, expected = {k: v.clone() for k, v in module.state_dict().items()}, module(x)
    network_of(module)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    torch.testing.assert_close(module(x), expected, rtol=0, atol=0)


def test_folding_batch_norm_keeps_the_function(x: torch.Tensor) -> None:
    model = toy_vgg(batch_norm=True)
    folded = fold_batch_norm(model)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    torch.testing.assert_close(folded(x), model(x), rtol=1e-10, atol=1e-10)


@given(st.integers(5, 60), st.sampled_from([1, 3, 5]), st.integers(1, 2))
def test_same_padding_gives_an_output_a_stride_and_the_odd_zero_goes_behind(
    length: int, kernel: int, stride: int
) -> None:
    before, after = same_padding(length, kernel, stride)
    assert 0 <= after - before <= 1
    assert (length + before + after - kernel) // stride + 1 == -(-length // stride)
    if before + after:  # no zero too many
        assert (length + before + after - 1 - kernel) // stride + 1 < -(-length // stride)


@pytest.mark.parametrize("side", [31, 32, 45])
def test_efficientnet_lite_is_what_its_parameters_say(side: int) -> None:
    """Written again with plain functions over the parameters' names."""
    module = toy_efficientnet_lite(side)
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(
        network_of(module).logits(x), oracle.efficientnet_lite(module.state_dict(), x)
    )
