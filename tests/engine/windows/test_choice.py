"""Windows or whole maps, with the trial's seconds given."""

import pytest
import torch
from torch import nn

from weakpoints.engine.spans import Corners
from weakpoints.engine.windows import choice
from weakpoints.engine.windows.choice import chosen
from weakpoints.engine.windows.form import WindowsForm
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.network import Network

SIDE = 32
BUDGET = 2**26


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    module = nn.Sequential(nn.Conv2d(3, 4, 3), *head).eval().requires_grad_(False)
    return network_of_graph(*graph_of(module, SIDE), SIDE)


def timed(monkeypatch: pytest.MonkeyPatch, windows: float, whole: float) -> list[str]:
    """The trial takes these seconds; which forms it tried."""
    tried: list[str] = []

    def seconds(form: WindowsForm, *_: object) -> float:
        tried.append(form.name)
        return windows if form.name == "windows" else whole

    monkeypatch.setattr(choice, "_seconds", seconds)
    return tried


def test_windows_that_save_much_are_taken_without_a_trial(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = timed(monkeypatch, 1, 1)
    form, found = chosen(network, BUDGET, SIDE, 4)
    assert (form.name, found.name, found.on, tried) == ("windows", "windows", True, [])
    assert found.gain is not None
    assert found.gain > 1.5


def test_windows_that_save_nothing_are_not_tried(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = timed(monkeypatch, 1, 2)
    form, found = chosen(network, BUDGET, SIDE, 31)
    assert (form.name, found.on, tried) == ("whole", False, [])
    assert found.why == "they save 1.00 times the products"


@pytest.mark.parametrize(("windows", "whole"), [(1.0, 1.5), (3.0, 1.5)])
def test_in_between_the_quicker_of_the_two_is_taken(
    network: Network, windows: float, whole: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = timed(monkeypatch, windows, whole)
    form, found = chosen(network, BUDGET, SIDE, 24)
    assert tried == ["windows", "whole"] * 2
    assert found.on == (windows < whole)
    assert form.name == ("windows" if windows < whole else "whole")
    if windows < whole:
        assert found.gain == pytest.approx(1.5)
    else:
        assert found.why is not None
        assert found.why.endswith("and took 2.00 times as long")


def test_windows_that_are_surely_quicker_are_tried_once(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = timed(monkeypatch, 1, 2)
    _, found = chosen(network, BUDGET, SIDE, 24)
    assert (tried, found.gain) == (["windows", "whole"], 2)


def test_a_trial_is_the_seconds_of_one_chunk(network: Network) -> None:
    form = WindowsForm(network, BUDGET)
    assert choice._seconds(form, SIDE, 8, ((0, 0), (0, 9))) > 0


@pytest.mark.parametrize(("products", "boxes"), [(1e12, 12), (None, 4), (1.0, 1)])
def test_the_larger_a_network_the_fewer_boxes_it_is_tried_with(
    network: Network, products: float | None, boxes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def seconds(form: WindowsForm, side: int, box: int, corners: Corners) -> float:
        assert all(0 <= y <= side - box and 0 <= x <= side - box for y, x in corners)
        counts.append(len(corners))
        return 1.0

    monkeypatch.setattr(choice, "_seconds", seconds)
    whole = WindowsForm(network, BUDGET).products(SIDE, 24, ((0, 0),)).full
    monkeypatch.setattr(choice, "PRODUCTS", 4 * whole if products is None else products)
    chosen(network, BUDGET, SIDE, 24)
    assert set(counts) == {boxes}
