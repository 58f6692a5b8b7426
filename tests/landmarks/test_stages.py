"""Descriptors, transport, votes and consensus beside their oracle in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.conftest import MODULES
from tests.landmarks import oracle
from weakpoints.landmarks.consensus import Shape, predict_from_others, trust
from weakpoints.landmarks.descriptors import GRID, describe, landmark_layers, similarity
from weakpoints.landmarks.transport import kernel_of, optimal_transport, uniform
from weakpoints.landmarks.votes import (
    OFFSET_BLUR,
    OFFSETS,
    blurred,
    by_offset,
    neighbours,
    offset_votes,
    shifted,
)
from weakpoints.networks.architectures import network_of
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of


def maps(seed: int, *shapes: Any) -> Any:
    rng = torch.Generator().manual_seed(seed)
    return tuple(F.normalize(torch.randn(shape, generator=rng), dim=0) for shape in shapes)


def test_similarity_is_the_product_of_resampled_descriptors() -> None:
    ours, theirs = (maps(seed, (5, 28, 28), (7, 14, 14), (6, 7, 7), (4, 7, 7)) for seed in (1, 2))
    chosen = [0, 1, GRID - 1, 5 * GRID, 300, 401, GRID**2 - 2, GRID**2 - 1]
    expected = oracle.grid_descriptors(ours, chosen) @ oracle.grid_descriptors(theirs, chosen).T
    found = similarity(ours, theirs)[chosen][:, chosen].numpy()
    assert found == pytest.approx(expected.clip(0), abs=1e-6)


def test_transport_is_sinkhorns() -> None:
    alike = torch.rand(30, 30, generator=torch.Generator().manual_seed(3))
    expected = oracle.plan(alike.double().numpy())
    found = optimal_transport(kernel_of(alike.clone()), uniform(30), uniform(30))
    assert found.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_votes_count_offsets_near_the_landmark() -> None:
    plan = torch.zeros(GRID**2, GRID**2)
    rng = np.random.default_rng(4)
    chosen = rng.integers(0, GRID**2, (60, 2))
    plan[chosen[:, 0], chosen[:, 1]] = torch.from_numpy(rng.random(60)).float()
    places = torch.tensor([[3.2, 20.0], [14.0, 7.5]])
    expected = [oracle.offset_votes(plan.double().numpy(), place) for place in places.numpy()]
    smooth = blurred(torch.from_numpy(np.stack(expected)).float(), OFFSET_BLUR)
    assert offset_votes(plan, places).numpy() == pytest.approx(smooth.numpy(), abs=1e-6)


def test_the_layout_by_offset_keeps_every_pair_and_forgets_the_last_plan() -> None:
    by_offset(torch.ones(GRID**2, GRID**2))
    plan = torch.rand(GRID**2, GRID**2)
    laid = by_offset(plan)
    assert laid.sum().item() == pytest.approx(plan.sum().item(), rel=1e-5)
    votes = laid[5 * GRID + 9].view(OFFSETS, OFFSETS)
    assert torch.equal(shifted(votes, 5 * GRID + 9).flatten(), plan[5 * GRID + 9])


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_each_landmark_is_predicted_from_the_others(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    marked = rng.random(count) < 0.8
    marked[:2] = True
    shape = Shape(rng.random((count, 2)) * 20 + 4, marked)
    found, weight = rng.random((count, 2)) * GRID, rng.random(count) * 0.99 + 0.01
    places, deviation = oracle.predicted_from_others(shape, found, weight)
    expected = predict_from_others(shape, found, weight)
    assert expected.places[marked] == pytest.approx(places[marked], abs=1e-4)
    assert expected.deviation[marked] == pytest.approx(deviation[marked], rel=1e-3)


def test_landmarks_that_moved_together_are_expected_exactly_there() -> None:
    rng = np.random.default_rng(0)
    shape = Shape(rng.random((8, 2)) * 12 + 6, np.ones(8, bool))
    turned = shape.places @ np.array([[0.9, 0.2], [-0.1, 1.1]]) + (2.0, -3.0)
    expected = predict_from_others(shape, turned, np.ones(8))
    assert expected.places == pytest.approx(turned, abs=0.25)


def test_a_point_far_from_where_the_others_expect_it_counts_less() -> None:
    weight = trust(np.array([0.5, 0.5, 0.25]), np.array([0.0, 0.1, 0.0]))
    assert weight == pytest.approx([1, 0.5, 0.5])


@given(st.floats(-3, GRID + 3), st.floats(-3, GRID + 3))
@settings(max_examples=50, deadline=None)
def test_a_place_is_read_between_its_four_cells(x: float, y: float) -> None:
    cells, weights = neighbours(torch.tensor([[x, y]], dtype=torch.float32))
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert weights.min() >= -1e-6
    back = (weights[0] * (cells[0] % GRID)).sum(), (weights[0] * (cells[0] // GRID)).sum()
    assert back == pytest.approx(np.clip([x, y], 0, GRID - 1), abs=1e-4)


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_every_architecture_has_layers_that_describe(kind: str) -> None:
    network = network_of(MODULES[kind]())
    trace = network.trace(torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    layers = landmark_layers(network, trace)
    assert layers
    for each in describe([trace.activations[layer][0] for layer in layers]):
        assert each.norm(dim=0).max() <= 1 + 1e-5


def test_a_network_that_is_a_graph_is_described_by_its_segments() -> None:
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    module = squeezenet1_1(num_classes=5).eval()
    network = network_of_graph(*graph_of(module, 64), 64)
    trace = network.trace(torch.zeros(1, 3, 64, 64))
    layers = landmark_layers(network, trace)
    assert layers
    assert all(trace.activations[layer].shape[-1] > 1 for layer in layers)
