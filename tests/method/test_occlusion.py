import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests import oracle
from tests.tables import network_of
from weakpoints.engine.engine import Incremental
from weakpoints.errors import NotFinite
from weakpoints.method.occlusion import (
    class_score,
    occluded_logits,
    occlusion_map,
    positions,
    random_colours,
    spread,
    spread_error,
)
from weakpoints.networks.network import Network
from weakpoints.options import ResolvedOptions, choose, resolve


def chosen(patch: int, stride: int, score: str) -> ResolvedOptions:
    return resolve(choose(patch=patch, stride=stride, score=score), 32, ())


@pytest.mark.parametrize("score", ["log_odds", "probability", "logit"])
@pytest.mark.parametrize(("box", "step", "places"), [(4, 4, 1), (6, 5, 1), (7, 5, 36), (32, 1, 1)])
def test_every_position_equals_masking_the_picture_and_running_the_whole_network(
    module: nn.Module, x: torch.Tensor, score: str, box: int, step: int, places: int
) -> None:
    network, starts = network_of(module), positions(32, box, step)
    fills = torch.randn(
        2, places, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    options = chosen(box, step, score)
    trace = network.trace(x)
    occluded = occluded_logits(Incremental(network), trace, fills, options)
    found = occlusion_map(trace, occluded, 1, options)
    expected = oracle.occlusion_drops(
        module, x, 1, starts, box, fills.expand(2, len(starts) ** 2, 3), score
    )
    mean = expected.mean(0).reshape(len(starts), -1)
    np.testing.assert_allclose(found.drops, mean, atol=1e-10)
    np.testing.assert_allclose(
        found.error, expected.std(0, ddof=1).reshape(len(starts), -1) / np.sqrt(2), atol=1e-10
    )
    np.testing.assert_allclose(found.map, oracle.coverage_mean(mean, starts, box, 32), atol=1e-10)


def test_the_paper_has_729_positions_at_224_and_so_have_its_proportions_at_112() -> None:
    assert len(positions(224, 16, 8)) ** 2 == len(positions(112, 8, 4)) ** 2 == 729


@given(st.data())
def test_boxes_reach_both_edges_and_leave_no_pixel_uncovered(data: st.DataObject) -> None:
    side = data.draw(st.integers(1, 64))
    box = data.draw(st.integers(1, side))
    step = data.draw(st.integers(1, box))
    starts = positions(side, box, step)
    covered = {pixel for start in starts for pixel in range(start, start + box)}
    assert covered == set(range(side))
    assert starts == sorted(set(starts))


@given(st.data())
def test_the_map_is_the_mean_over_the_boxes_on_each_pixel(data: st.DataObject) -> None:
    side = data.draw(st.integers(1, 12))
    box = data.draw(st.integers(1, side))
    starts = positions(side, box, data.draw(st.integers(1, box)))
    drops = np.random.default_rng(0).random((len(starts), len(starts)))
    np.testing.assert_allclose(
        spread(drops, starts, box, side), oracle.coverage_mean(drops, starts, box, side), atol=1e-12
    )


@given(st.data())
def test_the_map_s_error_is_that_of_the_boxes_and_colours_on_each_pixel(
    data: st.DataObject,
) -> None:
    side = data.draw(st.integers(1, 12))
    box = data.draw(st.integers(1, side))
    starts = positions(side, box, data.draw(st.integers(1, box)))
    rng, shape = np.random.default_rng(0), (data.draw(st.integers(1, 3)), len(starts), len(starts))
    drops = rng.random(shape) + data.draw(st.sampled_from([0.0, 1e3]))
    np.testing.assert_allclose(
        spread_error(drops, starts, box, side),
        oracle.coverage_error(drops, starts, box, side),
        atol=1e-9,
    )


def test_log_odds_stay_apart_where_probabilities_saturate() -> None:
    logits = torch.tensor([[50.0, 0.0], [60.0, 0.0]])
    assert class_score(logits, 0, "probability")[0] == class_score(logits, 0, "probability")[1]
    assert class_score(logits, 0, "log_odds").tolist() == pytest.approx([50.0, 60.0])


def test_colours_depend_on_the_picture_and_the_seed_and_on_nothing_else() -> None:
    first = random_colours(b"12345678" * 4, 0, 3, 5)
    np.random.seed(5)
    assert np.array_equal(first, random_colours(b"12345678" * 4, 0, 3, 5))
    assert not np.array_equal(first, random_colours(b"12345678" * 4, 1, 3, 5))
    assert not np.array_equal(first, random_colours(b"12345679" * 4, 0, 3, 5))
    assert first.shape == (3, 5, 3)
    assert 0 <= first.min() <= first.max() <= 1


def test_colours_come_in_complementary_pairs() -> None:
    colours = random_colours(b"12345678" * 4, 0, 4, 2)
    np.testing.assert_allclose(colours[0] + colours[1], 1)
    np.testing.assert_allclose(colours[2] + colours[3], 1)
    assert not np.allclose(colours[0], colours[2])


def test_a_picture_that_no_box_changes_gives_no_evidence(network: Network) -> None:
    grey = torch.full((1, 3, 32, 32), 0.3, dtype=torch.float64)
    fills, options = torch.full((2, 1, 3), 0.3, dtype=torch.float64), chosen(8, 4, "log_odds")
    trace = network.trace(grey)
    found = occlusion_map(
        trace, occluded_logits(Incremental(network), trace, fills, options), 0, options
    )
    assert not found.evident
    assert found.drops.max() < 1e-10


def test_one_colour_has_no_standard_error(network: Network, x: torch.Tensor) -> None:
    fills, options = torch.ones(1, 1, 3, dtype=torch.float64), chosen(8, 4, "log_odds")
    trace = network.trace(x)
    found = occlusion_map(
        trace, occluded_logits(Incremental(network), trace, fills, options), 0, options
    )
    assert np.isnan(found.error).all()
    assert np.isnan(found.map_error[0, 0]), "one box covers the corner"
    assert (found.map_error[4:28, 4:28] >= 0).all(), "four cover what is in the middle"
    assert found.evident


def test_as_many_colours_as_boxes_or_one(network: Network, x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="2 colours for 49 boxes"):
        occluded_logits(
            Incremental(network),
            network.trace(x),
            torch.ones(1, 2, 3, dtype=torch.float64),
            chosen(8, 4, "logit"),
        )


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_logits_beyond_the_precision_are_an_error_with_the_way_out(
    network: Network, x: torch.Tensor, value: float
) -> None:
    fills = torch.full((1, 1, 3), value, dtype=torch.float64)
    with pytest.raises(NotFinite, match="WEAKPOINTS_PRECISION=float32"):
        occluded_logits(Incremental(network), network.trace(x), fills, chosen(8, 4, "log_odds"))
