"""What keypoints have to beat."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import toy_resnet
from tests.tables import network_of
from weakpoints.evaluation.baselines import (
    CORNERS,
    depth,
    grid_points,
    random_points,
    random_weights,
    suppress,
)
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.network import Conv


def test_a_grid_is_even_and_lies_in_its_box() -> None:
    for count in (0, 1, 5, 12, 33):
        points = grid_points((10, 20, 80, 40), count)
        assert len(points.xy) == count == len(points.within((10, 20, 80, 40)).xy)
    np.testing.assert_allclose(grid_points((0, 0, 40, 20), 2).xy, [[9.5, 9.5], [29.5, 9.5]])
    assert (
        len(random_points((5, 5, 10, 10), 50, np.random.default_rng(0)).within((5, 5, 10, 10)).xy)
        == 50
    )


@pytest.mark.parametrize("name", CORNERS)
def test_corner_detectors_come_strongest_first_and_spread(
    name: str, photograph: np.ndarray
) -> None:
    found = CORNERS[name](photograph, 6)
    assert len(found.xy)
    assert (np.diff(found.score) <= 0).all()
    apart = np.abs(found.xy[:, None] - found.xy).max(2) + 99 * np.eye(len(found.xy))
    assert apart.min() > 6
    assert not len(CORNERS[name](np.full_like(photograph, 90), 6).xy)


def test_suppression_keeps_the_stronger_of_two() -> None:
    kept = suppress(np.array([[0.0, 0], [3, 0], [9, 0]]), np.array([1.0, 2, 0]), 4)
    assert kept.xy.tolist() == [[3, 0], [9, 0]]


def test_weights_are_drawn_anew_from_the_top_down_only() -> None:
    network = network_of(toy_resnet())
    count = depth(network.layers)
    assert depth(random_weights(network, 2).layers) == count
    same = random_weights(network, 1)
    assert all(a is b or a == b for a, b in zip(network.layers[:1], same.layers[:1], strict=True))
    assert not same.layers[-1].weight.equal(network.layers[-1].weight)
    whole = random_weights(network)
    assert isinstance(whole.layers[0], Conv)
    assert not whole.layers[0].weight.equal(network.layers[0].weight)


class Gated(nn.Module):
    """A gate, so that its graph has a segment with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.stem(x))
        x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        found: Tensor = self.head(x.mean((2, 3)))
        return found


def test_weights_inside_a_graph_s_segments_are_drawn_anew_too() -> None:
    module = Gated().double().requires_grad_(False)
    network = network_of_graph(*graph_of(module, 8), 8)
    assert depth(network.layers) == 3
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    before, two = network.trace(x), random_weights(network, 2).trace(x)
    assert before.activations[0].equal(two.activations[0])  # of the stem
    gated = next(i for i, layer in enumerate(network.layers) if "gate.weight" in str(layer))
    assert not before.activations[gated].equal(two.activations[gated])
    drawn = random_weights(network)
    assert not drawn.trace(x).activations[0].equal(before.activations[0])
