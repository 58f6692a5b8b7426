import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests import oracle
from tests.tables import network_of
from weakpoints.method.guided import guided_maps, log_odds_gradient
from weakpoints.networks.network import Network


@pytest.mark.parametrize("target", [0, 3])
def test_guided_map_is_autograd_with_a_guided_relu(
    module: nn.Module, x: torch.Tensor, target: int
) -> None:
    network = network_of(module)
    expected = oracle.guided(copy.deepcopy(module), x, target)
    np.testing.assert_allclose(
        guided_maps(network, network.trace(x), [target], rule="guided")[0],
        expected,
        rtol=1e-9,
        atol=1e-12,
    )
    assert expected.max() > 0


@pytest.mark.parametrize("target", [0, 3])
def test_gradient_map_is_the_norm_of_the_plain_gradient(
    module: nn.Module, x: torch.Tensor, target: int
) -> None:
    network = network_of(module)
    expected = np.linalg.norm(oracle.input_gradient(module, x, target), axis=0)
    np.testing.assert_allclose(
        guided_maps(network, network.trace(x), [target], rule="gradient")[0],
        expected,
        rtol=1e-9,
        atol=1e-12,
    )


def test_the_signal_of_the_softmax_points_the_same_way_as_that_of_the_log_odds() -> None:
    logits = torch.tensor([[1.0, 2.5, -0.3, 0.8]], dtype=torch.float64, requires_grad=True)
    (softmax,) = torch.autograd.grad(logits.softmax(1)[0, 1], logits)
    ours = log_odds_gradient(logits.detach(), [1])
    torch.testing.assert_close(softmax / softmax.norm(), ours / ours.norm())


def test_the_log_odds_do_not_underflow_where_the_softmax_does() -> None:
    logits = torch.tensor([[900.0, 0.0, -5.0]], dtype=torch.float64)
    assert log_odds_gradient(logits, [0])[0, 0] == 1
    assert torch.isfinite(log_odds_gradient(logits, [0])).all()


@pytest.mark.parametrize("rule", ["guided", "mirrored", "gradient"])
def test_several_targets_of_a_picture_are_as_if_each_were_alone(
    module: nn.Module, x: torch.Tensor, rule: str
) -> None:
    network = network_of(module)
    pictures, targets = [1, 0, 1, 1], [0, 3, 2, 4]
    both = torch.cat([x, x.roll(5, -1) / 2])
    together = guided_maps(network, network.trace(both), targets, rule=rule, pictures=pictures)
    for found, picture, target in zip(together, pictures, targets, strict=True):
        alone = guided_maps(network, network.trace(both[[picture]]), [target], rule=rule)[0]
        np.testing.assert_allclose(found, alone, rtol=1e-9, atol=1e-12)


def test_the_trace_is_bit_identical_afterwards(network: Network, x: torch.Tensor) -> None:
    trace = network.trace(x)
    before = [a.clone() for a in trace.activations]
    guided_maps(network, trace, [0], rule="guided")
    assert all(torch.equal(a, b) for a, b in zip(before, trace.activations, strict=True))


def test_the_mirrored_map_is_the_mean_of_both_and_turns_with_the_picture(
    module: nn.Module, x: torch.Tensor
) -> None:
    network = network_of(module)
    one, other = (network.trace(each) for each in (x, x.flip(-1)))
    expected = (
        oracle.guided(copy.deepcopy(module), x, 2)
        + oracle.guided(copy.deepcopy(module), x.flip(-1), 2)[:, ::-1]
    ) / 2
    found = guided_maps(network, one, [2], rule="mirrored")[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        guided_maps(network, other, [2], rule="mirrored")[0], found[:, ::-1], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("rule", ["mirrored", "guided", "gradient"])
def test_several_pictures_at_once_give_the_map_of_each(
    module: nn.Module, x: torch.Tensor, rule: str
) -> None:
    network, pictures, targets = (
        network_of(module),
        torch.cat([x, x.flip(-1), x.roll(5, -2)]),
        [2, 0, 4],
    )
    together = guided_maps(network, network.trace(pictures), targets, rule=rule)
    for picture, target, found in zip(pictures, targets, together, strict=True):
        np.testing.assert_allclose(
            found,
            guided_maps(network, network.trace(picture[None]), [target], rule=rule)[0],
            rtol=1e-9,
            atol=1e-12,
        )
