"""Which floats of a graph are the network's own."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.dtypes import OWN
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.graph import leaves

SIDE = 8


class Positioned(nn.Module):
    """Adds positions that are made in float32, and ones of the picture's dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.linspace(0, 1, SIDE, dtype=torch.float32).div(3).sin()
        ones = torch.ones(x.shape[0], 1, 1, SIDE, dtype=x.dtype)
        return self.head((x * positions + ones).mean((2, 3)))


class Uncopied(Positioned):
    def __deepcopy__(self, memo: dict[int, Any]) -> "Uncopied":
        raise TypeError("it has a lock")


class Branched(Positioned):
    """Has other operations in float64."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sin() if x.dtype == torch.float64 else x)


def dtypes(module: nn.Module) -> list[str]:
    graph, _ = graph_of(module, SIDE)
    given = [leaf for each in graph.operations for leaf in leaves([*each.options.values()])]
    return [leaf["dtype"] for leaf in given if isinstance(leaf, dict) and "dtype" in leaf]


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
def test_a_dtype_that_the_module_asks_for_by_name_stays(own: torch.dtype) -> None:
    assert dtypes(Positioned().to(own)) == ["float32", OWN["dtype"]]


@pytest.mark.parametrize("module", [Uncopied(), Branched()])
def test_without_a_twin_to_compare_with_all_are_the_network_s_own(module: nn.Module) -> None:
    assert dtypes(module) == [OWN["dtype"]] * 2


def test_a_graph_read_in_float32_answers_in_float64_as_the_module_does_there() -> None:
    module = Positioned().requires_grad_(False)
    graph, tensors = graph_of(module, SIDE)
    network = network_of_graph(graph, {key: each.double() for key, each in tensors.items()}, SIDE)
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(network.logits(x), module.double()(x), rtol=1e-14, atol=1e-14)
