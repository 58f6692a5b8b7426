import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from app.settings import Settings
from tests.toys import LABELS, seeded
from weakpoints.errors import WeightsError
from weakpoints.networks.download import pull, verify
from weakpoints.networks.graph.files import read_graph
from weakpoints.networks.graph.graph import Graph
from weakpoints.networks.load import GRAPHS, load_network
from weakpoints.networks.manifest import (
    Entry,
    Occluder,
    address,
    choose_network,
    find,
    read_manifest,
)
from weakpoints.networks.weights import fitting, load_state

CONTENT = bytes(range(256)) * 4096


def entry(path: Path, url: str | None = None, content: bytes = CONTENT, **changes: object) -> Entry:
    sha256 = hashlib.sha256(content).hexdigest()
    whole = Entry("toy", "resnet18", LABELS, 32, (0.5,) * 3, (0.5,) * 3, path, url, sha256, "none")
    return dataclasses.replace(whole, **changes)


def saved(path: Path, state: dict[str, torch.Tensor], **changes: object) -> Entry:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return entry(path, content=path.read_bytes(), **changes)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_graph(GRAPHS / "resnet18.graph.json", None)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return seeded(resnet18(weights=None, num_classes=6)).float()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_saved_network_comes_back_as_the_same_function(
    suffix: str, module: nn.Module, tmp_path: Path
) -> None:
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    network = load_network(saved(tmp_path / f"toy{suffix}", module.state_dict()))
    torch.testing.assert_close(network.logits(x), module(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kept", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_computed_in_the_one_that_is_told(
    kept: torch.dtype, module: nn.Module, tmp_path: Path
) -> None:
    """All of them, or a body in half precision under a head in float32."""
    for part in ("", "layer"):
        state = {
            key: value.to(kept) if key.startswith(part) and value.is_floating_point() else value
            for key, value in module.state_dict().items()
        }
        network = load_network(saved(tmp_path / "toy.safetensors", state))
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
        assert network.like.dtype == network.logits(x).dtype == torch.float32
        torch.testing.assert_close(network.logits(x), module(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ([1, 2], "holds a list; a state dictionary is needed"),
        (torch.zeros(3), "holds a Tensor"),
        ("text", "holds a str"),
        ({"epoch": 3, "state_dict": {}}, "'epoch' is a int; names are texts"),
        ({3: torch.zeros(3)}, "'3' is a Tensor"),
    ],
)
def test_a_pth_that_is_no_state_dictionary_is_one_sentence(
    state: object, says: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=says):
        load_state(saved(tmp_path / "toy.pth", state))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda weight: weight * float("nan"), "conv1.weight has NaN or infinity"),
        (lambda weight: weight + torch.inf, "conv1.weight has NaN or infinity"),
        (lambda weight: weight.to(torch.int8), "conv1.weight is of torch.int8"),
        (lambda weight: weight.to(torch.complex64), "conv1.weight is of torch.complex64"),
    ],
)
def test_weights_that_are_no_real_numbers_are_refused_by_their_name(
    change: Callable[[torch.Tensor], torch.Tensor],
    says: str,
    module: nn.Module,
    graph: Graph,
    tmp_path: Path,
) -> None:
    state = module.state_dict()
    state["conv1.weight"] = change(state["conv1.weight"])
    with pytest.raises(WeightsError, match=says):
        fitting(state, graph, entry(tmp_path))


def test_a_digest_prefix_as_torchvision_publishes_it_is_enough(tmp_path: Path) -> None:
    toy = saved(tmp_path / "toy.safetensors", {"a": torch.ones(1)})
    assert load_state(dataclasses.replace(toy, sha256=toy.sha256[:8]))["a"] == 1


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    toy = saved(tmp_path / "toy.safetensors", {"a": torch.ones(1)})
    toy.path.write_bytes(toy.path.read_bytes()[:-1] + b"\1")
    with pytest.raises(WeightsError, match=toy.sha256):
        load_state(toy)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle ran')",))


@pytest.mark.parametrize(
    ("name", "content"),
    [("bomb.pth", pickle.dumps(Bomb())), ("junk.pth", b"junk"), ("junk.safetensors", b"junk" * 9)],
)
def test_a_file_that_is_no_weights_is_refused_and_never_run(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="loaded safely"):
        load_state(entry(tmp_path / name, content=content))


def test_wrong_keys_and_shapes_are_one_sentence(
    module: nn.Module, graph: Graph, tmp_path: Path
) -> None:
    state = dict(module.state_dict())
    state["conv1.wait"] = state.pop("conv1.weight")
    with pytest.raises(
        WeightsError, match=r"1 missing \(conv1\.weight\); 1 unknown \(conv1\.wait\)"
    ):
        fitting(state, graph, entry(tmp_path))
    state = module.state_dict() | {"fc.bias": torch.ones(7)}
    with pytest.raises(WeightsError, match="'linear' can't be computed"):
        load_network(saved(tmp_path / "toy.safetensors", state))
    with pytest.raises(WeightsError, match=r"answers \[6\] logits, and there are 5 labels"):
        load_network(saved(tmp_path / "toy.pth", module.state_dict(), labels=LABELS[:5]))


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    toy = saved(tmp_path / "toy.safetensors", {"a": torch.ones(1)}, architecture="lenet")
    with pytest.raises(WeightsError, match=r"'lenet'; known are efficientnet_lite0, .*vgg11"):
        load_network(toy)


def test_every_network_of_the_shipped_manifest_is_described_rightly() -> None:
    entries = read_manifest(Settings().manifest)
    assert {"bundled", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "resnet50"} <= set(entries)
    for name, found in entries.items():
        if name == "efficientnet_lite0":
            assert (len(found.labels), found.side, found.labels[504]) == (1000, 224, "coffee mug")
            verify(found)
            assert found.occluder == Occluder(patch=64, stride=32, colours=1, weight=0.15)
        elif name == "bundled":
            assert (len(found.labels), found.side) == (100, 112)
            verify(found)
            assert found.path.stat().st_size < 16e6
        else:
            assert (len(found.labels), found.side) == (1000, 224)
            assert found.sha256[:8] in (address(found) or "")


def test_auto_is_vgg16_where_its_weights_are_here_and_says_why(tmp_path: Path) -> None:
    manifest = Settings().manifest
    embedded, why = choose_network(manifest, "auto", tmp_path)
    assert embedded.name == "efficientnet_lite0"
    assert "the weights of vgg16 are not here" in why
    assert str(tmp_path) not in why, "callers read it in GET /model"
    find(manifest, "vgg16", tmp_path).path.touch()
    assert choose_network(manifest, "auto", tmp_path)[0].name == "vgg16"
    assert choose_network(manifest, "vgg19", tmp_path)[1] == "vgg19 was asked for"
    (tmp_path / "l.json").write_text('["a", "b"]')
    other = tmp_path / "manifest.json"
    other.write_text(json.dumps({"networks": {"mine": GOOD}}))
    with pytest.raises(WeightsError, match="name one of mine"):
        find(other, "auto")


def test_weights_of_a_package_that_is_not_installed_say_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text('["a", "b"]')
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"networks": {"mine": GOOD | {"package": "no-such-weights"}}}))
    for use in (verify, pull):
        with pytest.raises(WeightsError, match="pip install no-such-weights"):
            use(find(manifest, "mine"))


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(WeightsError, match="there are bundled"):
        find(Settings().manifest, "alexnet")


GOOD = {
    "architecture": "vgg16",
    "labels": "l.json",
    "side": 32,
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
    "file": "f.pth",
    "sha256": "a" * 64,
    "licence": "x",
}


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../f.pth"},
        {"file": "downloaded/../../f.pth"},
        {"sha256": "abc"},
        {"mean": [0]},
        {"labels": "none.json"},
        {"side": "big"},
        {"labels": 3},
        {"colour": "red"},
        {"occluder": {"patch": 0, "stride": 1}},
    ],
)
def test_a_manifest_that_is_not_right_says_which_entry(
    change: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "l.json").write_text('["a", "b"]')
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"networks": {"good": GOOD}}))
    assert find(manifest, "good").labels == ("a", "b")
    manifest.write_text(json.dumps({"networks": {"good": GOOD, "bad": GOOD | change}}))
    assert find(manifest, "good").labels == ("a", "b")
    for use in (read_manifest, partial(find, name="bad")):
        with pytest.raises(WeightsError, match="'bad'"):
            use(manifest)


def test_pulled_weights_lie_in_the_folder_for_them(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text('["a", "b"]')
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"networks": {"far": GOOD | {"file": "downloaded/f.pth"}}}))
    assert find(manifest, "far").path == tmp_path / "downloaded" / "f.pth"
    assert find(manifest, "far", tmp_path / "else").path == tmp_path / "else" / "f.pth"


def test_a_manifest_that_is_no_json_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(WeightsError, match="not a manifest"):
        read_manifest(tmp_path / "manifest.json")
