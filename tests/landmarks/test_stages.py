"""Descriptors, transport, votes and consensus beside their oracle in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.conftest import MODULES
from tests.landmarks import oracle
from tests.tables import network_of
from weakpoints.landmarks.consensus import Shape, predict_from_others, trust
from weakpoints.landmarks.descriptors import (
    GRID,
    at_places,
    describe,
    landmark_layers,
    layer_weights,
    similarity,
    weighed_by_width,
)
from weakpoints.landmarks.maps import blurred, neighbours
from weakpoints.landmarks.transport import kernel_of, optimal_transport
from weakpoints.landmarks.votes import (
    BLOCKS,
    OFFSET_BLUR,
    OFFSETS,
    STEP,
    block_centres,
    by_offset,
    offset_votes,
    votes_at,
    votes_back,
)
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of


def maps(seed: int, *shapes: Any) -> Any:
    rng = torch.Generator().manual_seed(seed)
    return tuple(F.normalize(torch.randn(shape, generator=rng), dim=0) for shape in shapes)


def test_similarity_is_the_product_of_resampled_descriptors() -> None:
    ours, theirs = (maps(seed, (5, 28, 28), (7, 14, 14), (6, 7, 7), (4, 7, 7)) for seed in (1, 2))
    places = np.array([[0, 0], [27, 0], [3.4, 5.1], [26.5, 26.5], [-0.7, 27.2], [13, 14]])
    cells = np.array([[0, 0], [27, 27], [10, 20], [1, 0], [17, 9]])
    expected = oracle.grid_descriptors(ours, places) @ oracle.grid_descriptors(theirs, cells).T
    rows = at_places(ours, torch.from_numpy(places).float())
    found = similarity(rows, theirs)[:, cells[:, 1] * GRID + cells[:, 0]].numpy()
    assert found == pytest.approx(expected.clip(0), abs=1e-5)


def test_layers_of_blocks_count_by_their_cells_width_whatever_their_weights() -> None:
    ours, theirs = (maps(seed, (5, 28, 28), (7, 14, 14), (6, 7, 7)) for seed in (6, 7))
    weights = [1.0, 2.0, 0.5]
    described = [describe(each, weights) for each in (ours, theirs)]
    places = torch.tensor([[13.0, 6.0], [3.3, 20.1]])
    rows = weighed_by_width(described[0], at_places(described[0], places))
    # Layers without weights, by the oracle, each as the share that its width has.
    expected = sum(
        width
        / 7
        * oracle.grid_descriptors([a], places.numpy())
        @ oracle.grid_descriptors([b], [[0, 0], [9, 21]]).T
        for width, a, b in zip((1, 2, 4), ours, theirs, strict=True)
    )
    found = similarity(rows, described[1])[:, [0, 21 * GRID + 9]].numpy()
    assert found == pytest.approx(np.clip(expected, 0, None), abs=1e-5)


def test_a_block_without_a_counterpart_gives_less_of_its_mass() -> None:
    # Three blocks have a cell each that is like them; the fourth is like none.
    alike = torch.zeros(4, 3)
    alike[range(3), range(3)] = 1.0
    plan, _ = optimal_transport(kernel_of(alike))
    given = plan.sum(1) / plan.sum()
    assert given[3] < 0.5 * given[:3].min()
    assert plan.sum(0).numpy() == pytest.approx(float(plan.sum()) / 3, rel=1e-4)


def test_transport_is_sinkhorns() -> None:
    alike = torch.rand(30, 50, generator=torch.Generator().manual_seed(3))
    expected, columns = oracle.plan(alike.double().numpy())
    found, factors = optimal_transport(kernel_of(alike.clone()))
    assert found.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert factors.numpy() == pytest.approx(columns, rel=1e-4)


def test_votes_count_offsets_near_the_landmark() -> None:
    near, plan = 4.0, torch.zeros(BLOCKS**2, GRID**2)
    rng = np.random.default_rng(4)
    chosen = rng.integers(0, (BLOCKS**2, GRID**2), (60, 2))
    plan[chosen[:, 0], chosen[:, 1]] = torch.from_numpy(rng.random(60)).float()
    places = torch.tensor([[3.2, 20.0], [14.0, 7.5]])
    expected = [oracle.offset_votes(plan.double().numpy(), place, near) for place in places.numpy()]
    smooth = blurred(torch.from_numpy(np.stack(expected)).float(), OFFSET_BLUR)
    assert offset_votes(by_offset(plan), places, near).numpy() == pytest.approx(
        smooth.numpy(), abs=1e-6
    )


def test_the_layout_by_offset_keeps_every_pair_and_forgets_the_last_plan() -> None:
    by_offset(torch.ones(BLOCKS**2, GRID**2))
    plan = torch.rand(BLOCKS**2, GRID**2)
    laid = by_offset(plan)
    assert laid.sum().item() == pytest.approx(plan.sum().item(), rel=1e-5)
    block = 5 * BLOCKS + 9
    votes = laid[block].view(1, OFFSETS, OFFSETS)
    # From a block's middle the votes are read where they lie: it is no place between cells.
    read = votes_at(votes, block_centres()[block][None])
    assert torch.equal(read.flatten(), plan[block])


@given(st.floats(0, GRID - 1), st.floats(0, GRID - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_votes_are_read_at_the_offset_from_any_place(x: float, y: float, seed: int) -> None:
    votes = torch.rand(1, OFFSETS, OFFSETS, generator=torch.Generator().manual_seed(seed))
    found = votes_at(votes, torch.tensor([[x, y]]))
    expected = oracle.votes_at(votes[0].double().numpy(), np.array([x, y]))
    assert found[0].numpy() == pytest.approx(expected, abs=1e-4)


def test_votes_back_are_those_of_the_offset_from_every_block() -> None:
    votes = torch.rand(2, OFFSETS, OFFSETS, generator=torch.Generator().manual_seed(5))
    back = votes_back(votes, torch.tensor([0, 3 * GRID + 26]))
    for landmark, (to_y, to_x) in enumerate(((0, 0), (3, 26))):
        for row, column in ((0, 0), (13, 13), (4, 11)):
            offset = to_y - STEP * row + GRID - 1, to_x - STEP * column + GRID - 1
            assert back[landmark, row, column] == votes[landmark][offset]


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
@example(3, 3)  # two marked, one not: the one that is not pulled the others by 1e-4 of a cell
@settings(max_examples=20, deadline=None)
def test_each_landmark_is_predicted_from_the_others(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    marked = rng.random(count) < 0.8
    marked[:2] = True
    shape = Shape(rng.random((count, 2)) * 20 + 4, marked)
    found, weight = rng.random((count, 2)) * GRID, rng.random(count) * 0.99 + 0.01
    places, deviation = oracle.predicted_from_others(shape, found, weight)
    expected = predict_from_others(shape, found, weight)
    assert expected.places[marked] == pytest.approx(places[marked], abs=1e-8)
    assert expected.deviation[marked] == pytest.approx(deviation[marked], rel=1e-8)


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
    weights = layer_weights(network, trace)
    described = describe([trace.activations[layer][0] for layer in layers], weights)
    lengths = [values.norm(dim=0).max().item() for values in described]
    assert sum(length**2 for length in lengths) <= 1 + 1e-5


def test_a_network_that_is_a_graph_is_described_by_its_segments() -> None:
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    module = squeezenet1_1(num_classes=5).eval()
    network = network_of_graph(*graph_of(module, 64), 64)
    trace = network.trace(torch.zeros(1, 3, 64, 64))
    layers = landmark_layers(network, trace)
    assert layers
    assert all(trace.activations[layer].shape[-1] > 1 for layer in layers)
