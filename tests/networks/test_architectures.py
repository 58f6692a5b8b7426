from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import get_model

from app.settings import Settings
from tests import oracle
from tests.conftest import toy_efficientnet_lite, toy_vgg
from weakpoints.networks.architectures import ARCHITECTURES, fold_batch_norm, network_of, skeleton
from weakpoints.networks.efficientnet_lite import same_padding
from weakpoints.networks.manifest import find
from weakpoints.networks.network import Conv, MaxPool, Residual


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


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [("vgg11", 8), ("vgg16", 13), ("vgg16_bn", 13), ("vgg19", 16), ("vgg19_bn", 16)],
)
def test_vgg_has_as_many_convolutions_as_its_name_says(name: str, convolutions: int) -> None:
    with torch.device("meta"):
        layers = network_of(get_model(name, weights=None)).layers
    assert sum(isinstance(layer, Conv) for layer in layers) == convolutions
    assert sum(isinstance(layer, MaxPool) for layer in layers) == 5


def test_resnet50_is_sixteen_residual_blocks() -> None:
    with torch.device("meta"):
        layers = network_of(get_model("resnet50", weights=None)).layers
    assert sum(isinstance(layer, Residual) for layer in layers) == 16


@pytest.mark.parametrize(
    ("name", "blocks", "depthwise"), [("mobilenet_v2", 10, 17), ("efficientnet_lite0", 9, 16)]
)
def test_mobile_networks_have_inverted_residuals_without_an_activation_behind(
    name: str, blocks: int, depthwise: int
) -> None:
    """A block is a chain of its own where its shapes change, and Residual where they do not."""
    entry = replace(find(Settings().manifest, "vgg16"), architecture=name)
    with torch.device("meta"):
        layers = network_of(skeleton(entry)).layers
    residuals = [layer for layer in layers if isinstance(layer, Residual)]
    assert len(residuals) == blocks
    assert not any(layer.relu or layer.shortcut for layer in residuals)
    flat = [*layers, *(inner for layer in residuals for inner in layer.main)]
    convs = [layer for layer in flat if isinstance(layer, Conv)]
    assert sum(layer.groups > 1 for layer in convs) == depthwise
    assert {layer.ceiling for layer in convs if layer.relu} == {6}


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


def test_the_architectures_are_the_plain_ones() -> None:
    assert {"vgg11", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "resnet18", "resnet50"} <= set(
        ARCHITECTURES
    )
    assert {"mobilenet_v2", "efficientnet_lite0"} <= set(ARCHITECTURES)
    assert not any("next" in name or "wide" in name for name in ARCHITECTURES)


def test_a_network_without_a_table_is_refused() -> None:
    with pytest.raises(TypeError, match="no table is known for Linear"):
        network_of(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 3, 3, dilation=2),
        nn.Conv2d(3, 3, 3, padding=(1, 2)),
    ],
)
def test_a_convolution_that_is_not_known_is_refused(conv: nn.Conv2d) -> None:
    model = toy_vgg()
    model.features[0] = conv
    with pytest.raises(TypeError, match="are known"):
        network_of(model)


def test_a_layer_that_is_not_known_is_refused() -> None:
    model = toy_vgg()
    model.features[1] = nn.Sigmoid()
    with pytest.raises(TypeError, match="Sigmoid"):
        network_of(model)
