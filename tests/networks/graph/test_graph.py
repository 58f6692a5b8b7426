"""Modules of several families as graphs: logits, guided gradients, occlusion, files, bad input."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.settings import Settings
from tests.tables import network_of as table_of
from weakpoints import Weakpoints, WeightsError, export
from weakpoints.engine.engine import Incremental
from weakpoints.method.guided import guided_maps, walk_back
from weakpoints.method.occlusion import positions
from weakpoints.networks.graph.adding import default_occluder
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.files import from_json, to_json
from weakpoints.networks.graph.graph import function
from weakpoints.networks.manifest import find
from weakpoints.networks.modules.efficientnet_lite import EfficientNetLite
from weakpoints.networks.modules.small_vgg import narrow_vgg16
from weakpoints.networks.network import Conv, Network

SIDE = 32
LABELS = ("ant", "bee", "cat", "dog", "eel")


class Gated(nn.Module):
    """A convolution with batch-norm, a squeeze-and-excitation gate (Hu et al. 2018), a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.squeeze, self.project = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm(self.stem(x)), inplace=True)
        gate = torch.sigmoid(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        x = x + self.project(x * gate)
        return self.head(F.dropout(x.mean((2, 3)), 0.2, self.training))


class Concatenated(nn.Module):
    """A dense block (Huang et al. 2017) with an average pool and GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.head = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.1)
        x = F.avg_pool2d(torch.cat([x, F.gelu(self.second(x))], 1), 2)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Attending(nn.Module):
    """Patches, layer-norm and attention (Dosovitskiy et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8)
        self.mix, self.head = nn.Linear(8, 24), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        query, key, value = self.mix(self.norm(tokens)).chunk(3, -1)
        tokens = tokens + F.scaled_dot_product_attention(query, key, value)
        return self.head(tokens.mean(1))


class Standardised(nn.Module):
    """Weights are standardised at each pass (Brock et al. 2021), and a mask is made of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.first.weight
        flat = F.batch_norm(weight.reshape(1, 6, -1), None, None, training=True, momentum=0.0)
        x = F.relu(F.conv2d(x, flat.reshape_as(weight), self.first.bias, padding=1))
        column = torch.arange(SIDE, device=x.device)
        mask = (column > 3).to(device=x.device, dtype=x.dtype)
        ones = torch.ones(x.shape[0], 1, 1, SIDE, dtype=x.dtype, device=x.device)
        return self.head((x * mask * ones).mean((2, 3)))


FAMILIES = (Gated, Concatenated, Attending, Standardised)


def made(family: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    module = family().double()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return module.eval().requires_grad_(False)


@cache
def network_of(family: type[nn.Module]) -> Network:
    return network_of_graph(*graph_of(made(family), SIDE), SIDE)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)).double()


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_module_s_and_so_are_plain_gradients(
    family: type[nn.Module], x: Tensor
) -> None:
    module = made(family)
    network = network_of(family)
    trace = network.trace(x)
    torch.testing.assert_close(trace.logits, module(x), rtol=1e-10, atol=1e-10)
    signal = torch.eye(5).double()
    found = walk_back(network.layers, signal, trace.x, trace.activations, guided=False)
    expected = torch.autograd.functional.jacobian(lambda x: module(x)[0], x)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_boxes_are_those_of_masked_pictures(family: type[nn.Module], x: Tensor) -> None:
    module = made(family)
    corners = tuple((y, z) for y in range(0, 25, 6) for z in range(0, 25, 6))
    colours = torch.randn(len(corners), 3, generator=torch.Generator().manual_seed(3)).double()
    engine = Incremental(network_of(family))
    found = engine.logits(network_of(family).trace(x), corners, 8, colours)
    masked = x.repeat(len(corners), 1, 1, 1)
    for i, (top, left) in enumerate(corners):
        masked[i, :, top : top + 8, left : left + 8] = colours[i][:, None, None]
    torch.testing.assert_close(found, module(masked), rtol=1e-10, atol=1e-10)
    assert engine.price(SIDE, 8) > 0


def test_a_guided_signal_passes_where_it_is_positive_and_the_activation_passed(x: Tensor) -> None:
    """By hand, for one convolution, SiLU and one linear layer on the mean."""
    conv, head = nn.Conv2d(3, 4, 3).double(), nn.Linear(4, 5).double()
    module = nn.Sequential(conv, nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    network = network_of_graph(*graph_of(module.requires_grad_(False), SIDE), SIDE)
    trace = network.trace(x)
    signal = torch.zeros(1, 5).double()
    signal[0, 2] = 1
    found = walk_back(network.layers, signal, trace.x, trace.activations, guided=True)
    before = conv(x)
    after = F.silu(before)
    passed = (head.weight[2] / after[0, 0].numel())[None, :, None, None].clamp(min=0) * (after > 0)
    sigmoid = before.sigmoid()
    derivative = sigmoid * (1 + before * (1 - sigmoid))
    expected = F.conv_transpose2d(passed * derivative, conv.weight)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_tokens_that_lie_sequence_first_are_multiplied_in_one_product() -> None:
    tokens = torch.randn(3, 5, 4, dtype=torch.float64).transpose(0, 1)
    weight, bias = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    with torch.profiler.profile() as profile:
        found = function("linear.default")(tokens, weight, bias)
    torch.testing.assert_close(found, tokens @ weight.T + bias, rtol=1e-12, atol=1e-12)
    assert "aten::bmm" not in {event.key for event in profile.key_averages()}


def test_batch_norm_is_folded_and_dropout_is_gone() -> None:
    graph, tensors = graph_of(made(Gated), SIDE)
    assert "dropout" not in {operation.family for operation in graph.operations}
    layers = network_of_graph(graph, tensors, SIDE).layers
    assert isinstance(layers[0], Conv)
    assert layers[0].bias is not None


@pytest.mark.parametrize("suffix", ["safetensors", "graph.json", "labels.json"])
def test_an_export_writes_over_no_file_of_another_s(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"mine.{suffix}"
    file.write_text("mine")
    with pytest.raises(WeightsError, match="is there, and is not of an exported network"):
        export(made(Gated).float(), name="mine", labels=LABELS, side=SIDE, to=tmp_path)
    assert file.read_text() == "mine"


def test_files_give_the_same_network(tmp_path: Path) -> None:
    module = made(Gated).float()
    manifest = export(module, name="mine", labels=LABELS, side=SIDE, to=tmp_path)
    export(module, name="other", labels=LABELS, side=SIDE, to=tmp_path)
    assert set(json.loads(manifest.read_text())["networks"]) == {"mine", "other"}
    picture = torch.randint(256, (40, 50, 3), generator=torch.Generator().manual_seed(4))
    array = picture.to(torch.uint8).numpy()
    export(module, name="mine", labels=LABELS, side=SIDE, to=tmp_path)  # once more
    read = Weakpoints("mine", manifest=manifest, device="cpu").detect(array)
    direct = Weakpoints(module=module, labels=LABELS, side=SIDE, device="cpu").detect(array)
    assert (read.xy == direct.xy).all()
    assert [c.label for c in read.top] == [c.label for c in direct.top]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(made(Gated).float(), name="m", labels=LABELS, side=SIDE, to=folder)
    return folder


def saved(exported: Path, tmp_path: Path, edit: dict[str, object]) -> Path:
    """A network whose graph was edited and whose digest was made to fit."""
    manifest = shutil.copytree(exported, tmp_path, dirs_exist_ok=True) / "manifest.json"
    file = tmp_path / "m.graph.json"
    graph = json.loads(file.read_text())
    graph["operations"][0] |= edit
    file.write_text(json.dumps(graph))
    entries = json.loads(manifest.read_text())
    entries["networks"]["m"]["graph_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(entries))
    return manifest


X, W = {"value": "x"}, {"parameter": "stem.weight"}
EDITS = {
    "no operation that a graph may have": {"kind": "system.default"},
    "can't be computed: 'float99'": {"arguments": [X, W, {"dtype": "float99"}]},
    "no operation before it puts out": {"arguments": [{"value": "linear"}, W]},
    r"1 missing \(none.weight\); 1 unknown": {"arguments": [X, {"parameter": "none.weight"}]},
    "at most 67108864": {"arguments": [X, W, None, [1, 1], [9000, 9000]]},
    "can't be computed": {"arguments": [X, W, None, [1, 1], [-1, -1]]},
}


@pytest.mark.parametrize("said", EDITS)
def test_a_graph_that_was_edited_is_refused_in_one_sentence(
    exported: Path, tmp_path: Path, said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        Weakpoints("m", manifest=saved(exported, tmp_path, EDITS[said]), device="cpu")


def test_a_graph_with_another_digest_is_refused(exported: Path, tmp_path: Path) -> None:
    manifest = shutil.copytree(exported, tmp_path, dirs_exist_ok=True) / "manifest.json"
    with (tmp_path / "m.graph.json").open("a") as file:
        file.write("\n")
    with pytest.raises(WeightsError, match="SHA-256"):
        Weakpoints("m", manifest=manifest, device="cpu")


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class Twofold(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x.flatten(1)


class Counting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * torch.ones(len(x), 1)


BAD = {
    "works for one number of pictures alone": Counting(),
    "torch.export can't read": Branching(),
    "one input and one output": Twofold(),
    "output is .N, classes.": nn.Conv2d(3, 4, 3),
    "can't read this module": nn.Sequential(nn.Conv2d(4, 4, 3), nn.Flatten()),
    "not finite": nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 5)),
}


@pytest.mark.parametrize("said", BAD)
def test_a_module_that_is_no_classifier_is_refused_in_one_sentence(said: str) -> None:
    module = BAD[said]
    if said == "not finite":
        module[1].weight.data[0, 0] = torch.nan  # type: ignore[index]
    with pytest.raises(WeightsError, match=said):
        graph_of(module, SIDE)


def test_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="and there are 3 labels"):
        export(made(Gated), name="m", labels=LABELS[:3], side=SIDE, to=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_graph_reads_back_as_it_was_written() -> None:
    graph, _ = graph_of(made(Concatenated), SIDE)
    assert to_json(from_json(to_json(graph), "g")) == to_json(graph)


def test_guided_maps_of_two_classes_are_those_of_each(x: Tensor) -> None:
    network = network_of(Gated)
    trace = network.trace(x)
    both = guided_maps(network, trace, [1, 2], rule="guided", pictures=[0, 0])
    one = guided_maps(network, trace, [2], rule="guided")
    torch.testing.assert_close(torch.from_numpy(both[1:]), torch.from_numpy(one))


def test_a_classifier_without_maps_is_explained_without_contrast() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 5)).requires_grad_(False)
    found = Weakpoints(module=module, labels=LABELS, side=SIDE, device="cpu")
    picture = torch.randint(256, (40, 50, 3), generator=torch.Generator().manual_seed(4))
    maps = found.detect(picture.to(torch.uint8).numpy()).maps
    assert maps.fine.max() > 0
    assert maps.coarse.max() > 0


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("efficientnet_lite0", EfficientNetLite(64, 3)),
        ("vgg16", narrow_vgg16((4, 4, 4, 4, 4), 3, batch_norm=False)),
    ],
)
def test_the_default_detection_is_what_was_measured_on_the_manifest_s(
    name: str, module: nn.Module
) -> None:
    entry = find(Settings().manifest, name)
    assert default_occluder(table_of(module), entry.side) == entry.occluder


@pytest.mark.parametrize("side", [1, 7, 32, 96, 106, 224, 299, 518])
def test_the_default_boxes_are_thirty_six_where_the_side_has_so_many(side: int) -> None:
    box = default_occluder(network_of(Gated), side)
    assert box.stride <= box.patch <= side
    assert len(positions(side, box.patch, box.stride)) == min(6, side)


def test_a_graph_whose_first_tensor_is_of_indices_is_computed_in_float64(x: Tensor) -> None:
    graph, tensors = graph_of(made(Gated), SIDE)
    tensors = {"a": torch.zeros(1, dtype=torch.int64)} | tensors
    assert network_of_graph(graph, tensors, SIDE).logits(x).dtype == torch.float64
