"""What makes the fine map follow the class."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.oracle import grad_cam
from tests.tables import network_of
from weakpoints.method.contrast import class_contrast, class_evidence, fine_maps, likelihoods, share
from weakpoints.method.guided import guided_maps

LEFT, RIGHT = np.zeros((4, 4)), np.zeros((4, 4))
LEFT[:, :2], RIGHT[:, 2:] = 1, 1


def test_the_evidence_is_grad_cam_of_each_class(module: nn.Module, x: torch.Tensor) -> None:
    trace = network_of(module).trace(x)
    classes = [4, 0, 2]
    found = class_evidence(network_of(module), trace, classes).numpy()
    for each, target in zip(found, classes, strict=True):
        np.testing.assert_allclose(each, grad_cam(module, x, target), rtol=1e-9, atol=1e-12)


def test_a_rival_bites_where_it_lies_and_not_where_it_shares_the_object() -> None:
    elsewhere = share(LEFT, RIGHT[None])
    assert elsewhere[:, :2].min() > 0.99
    assert elsewhere[:, 2:].max() < 0.01
    np.testing.assert_allclose(share(LEFT, LEFT[None]), 1)
    wide = share(LEFT, np.ones((1, 4, 4)))
    assert wide.min() > share(LEFT, RIGHT[None]).min()


def test_a_rival_counts_by_its_probability_beside_the_target_s(
    module: nn.Module, x: torch.Tensor
) -> None:
    trace = network_of(module).trace(x)
    p = trace.logits[0].softmax(0).numpy()
    for target in (trace.ranking[0], trace.ranking[-1]):
        rivals = [c for c in trace.ranking if c != target]
        expected = np.minimum(p[rivals] / p[target], 1)
        np.testing.assert_allclose(likelihoods(trace, target, rivals), expected, rtol=1e-9)


def test_without_evidence_or_rivals_nothing_is_taken_away() -> None:
    np.testing.assert_allclose(share(np.zeros((3, 3)), np.zeros((2, 3, 3))), 1)
    np.testing.assert_allclose(share(LEFT, np.zeros((0, 4, 4))), 1)


def test_the_contrast_has_the_input_s_size_and_multiplies_the_mirrored_map(
    module: nn.Module, x: torch.Tensor
) -> None:
    network = network_of(module)
    trace = network.trace(torch.cat([x, x.flip(-2)]))
    targets = [1, 3]
    contrasts = [class_contrast(network, trace.of([i]), c) for i, c in enumerate(targets)]
    for each in contrasts:
        assert each.shape == (32, 32)
        assert 0 < each.min() <= each.max() <= 1
    np.testing.assert_allclose(
        fine_maps(network, trace, targets, rule="contrast", pictures=[0, 1]),
        guided_maps(network, trace, targets, rule="mirrored") * np.stack(contrasts),
    )


@pytest.mark.parametrize("rule", ["mirrored", "guided", "gradient"])
def test_other_rules_are_left_alone(rule: str, module: nn.Module, x: torch.Tensor) -> None:
    network = network_of(module)
    trace = network.trace(x)
    np.testing.assert_array_equal(
        fine_maps(network, trace, [1], rule=rule, pictures=[0]),
        guided_maps(network, trace, [1], rule=rule),
    )
