"""Networks of the manifest: their graphs, against modules and against tables written by hand."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from app.settings import Settings
from model_weights.write_graphs import NAMES, module, write
from tests.conftest import MODULES
from tests.tables import network_of
from weakpoints.errors import WeightsError
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.files import read_graph
from weakpoints.networks.load import GRAPHS, SUFFIX, architectures, graph_file
from weakpoints.networks.manifest import find, read_manifest


def differences(one: object, other: object, where: str = "") -> list[str]:
    """Where two tables of layers differ, tensors by their bits."""
    match one, other:
        case Tensor(), Tensor():
            return [] if torch.equal(one, other) else [where]
        case tuple(), tuple():
            if len(one) != len(other):
                return [f"{where}: {len(one)} and {len(other)}"]
            parts = enumerate(zip(one, other, strict=True))
            return [each for i, (a, b) in parts for each in differences(a, b, f"{where}.{i}")]
    if dataclasses.is_dataclass(one) and type(one) is type(other):
        names = [field.name for field in dataclasses.fields(one)]
        return [
            each
            for name in names
            for each in differences(getattr(one, name), getattr(other, name), f"{where}.{name}")
        ]
    return [] if one == other else [f"{where}: {one} and {other}"]


def test_differences_are_found() -> None:
    one, other = (network_of(MODULES["vgg"]()).layers for _ in range(2))
    assert not differences(one, other)
    assert differences(one, (*other[:-1], dataclasses.replace(other[-1], relu=True)))
    assert differences(one, other[1:])


@pytest.mark.parametrize("name", MODULES)
def test_the_table_of_a_graph_is_the_one_that_is_written_by_hand(name: str) -> None:
    made = MODULES[name]().requires_grad_(False)
    side = 56 if name == "narrow" else 32
    network = network_of_graph(*graph_of(made, side), side)
    assert not differences(network.layers, network_of(made).layers)


@pytest.mark.parametrize("name", ["vgg11", "resnet18", "efficientnet_lite0", "narrow_vgg16_bn"])
def test_a_graph_that_is_shipped_is_its_module_s(name: str, tmp_path: Path) -> None:
    assert write(name, tmp_path).read_text() == (GRAPHS / f"{name}{SUFFIX}").read_text()


def test_the_graphs_are_those_that_the_script_writes() -> None:
    assert set(architectures()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_that_is_shipped_reads_its_module_s_parameters(name: str) -> None:
    with torch.device("meta"):
        state = module(name).state_dict()
    wanted = {key for key in state if not key.endswith("num_batches_tracked")}
    assert read_graph(GRAPHS / f"{name}{SUFFIX}", None).parameters == wanted


def test_every_network_of_the_manifest_has_a_graph() -> None:
    for entry in read_manifest(Settings().manifest).values():
        assert graph_file(entry).exists()


def test_another_number_of_classes_and_another_side_need_no_other_graph() -> None:
    with torch.device("meta"):
        tensors = dict(module("resnet18", classes=7).state_dict())
    graph = read_graph(GRAPHS / f"resnet18{SUFFIX}", None)
    network = network_of_graph(graph, tensors, 96, 7)
    assert network.layers[-1].weight.shape == (7, 512)
    with pytest.raises(WeightsError, match=r"answers \[7\] logits, and there are 8 labels"):
        network_of_graph(graph, tensors, 96, 8)


def test_a_side_that_the_graph_s_padding_is_not_for_is_refused() -> None:
    entry = dataclasses.replace(find(Settings().manifest, "efficientnet_lite0"), side=240)
    with pytest.raises(WeightsError, match="side 240; that of efficientnet_lite0 is a multiple of"):
        graph_file(entry)
    assert graph_file(dataclasses.replace(entry, side=256)).exists()


def test_a_start_imports_neither_torchvision_nor_a_module_s_code() -> None:
    code = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "from weakpoints.loading import load_detector\n"
        "for name in ('bundled', 'efficientnet_lite0'):\n"
        "    load_detector(Path(sys.argv[1]), name, 'cpu')\n"
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'torchvision'"
        " or 'networks.modules' in m or m.startswith('torch._dynamo')]))"
    )
    command = [sys.executable, "-c", code, str(Settings().manifest)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


class Odd(nn.Module):
    """What no layer of a table is: another padding on one axis, holes, a pool of another kind."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv, self.head = conv, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.conv(x).relu().mean((2, 3)))
        return found


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 4, 3, padding=(1, 2)),
        nn.Conv2d(3, 4, 3, dilation=2),
        nn.Conv2d(3, 4, (1, 3)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, ceil_mode=True)),
        nn.Sequential(nn.ConstantPad2d(1, 0.5), nn.Conv2d(3, 4, 3)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardtanh(-1, 1)),
    ],
)
def test_what_no_layer_is_like_is_a_segment_and_answers_as_its_module(conv: nn.Module) -> None:
    torch.manual_seed(0)
    made = Odd(conv).double().eval().requires_grad_(False)
    network = network_of_graph(*graph_of(made, 15), 15)
    x = torch.randn(1, 3, 15, 15, dtype=torch.float64)
    assert any(type(layer).__name__ == "Segment" for layer in network.layers)
    torch.testing.assert_close(network.logits(x), made(x), rtol=1e-10, atol=1e-10)
