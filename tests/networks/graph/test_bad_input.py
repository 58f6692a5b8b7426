"""What comes from outside and is wrong: each is one sentence, before anything is computed."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from weakpoints import Weakpoints, WeightsError, export
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.files import tensors_of
from weakpoints.networks.graph.graph import Graph, Operation
from weakpoints.networks.graph.sources import source

SIDE, LABELS = 16, ("ant", "bee")
X = {"value": "x"}


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 14 * 14, 2))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return export(classifier(), name="m", labels=LABELS, side=SIDE, to=tmp_path)


def edited(manifest: Path, **fields: Any) -> Path:
    """The entry with other fields, and the digests of its files as they are now."""
    entries = json.loads(manifest.read_text())
    entries["networks"]["m"] |= fields
    for key, file in (("sha256", "m.safetensors"), ("graph_sha256", "m.graph.json")):
        digest = hashlib.sha256((manifest.parent / file).read_bytes()).hexdigest()
        entries["networks"]["m"][key] = digest
    manifest.write_text(json.dumps(entries))
    return manifest


def refused(manifest: Path, said: str) -> None:
    with pytest.raises(WeightsError, match=said) as error:
        Weakpoints("m", manifest=manifest, device="cpu")
    assert "\n" not in str(error.value)


def test_weights_with_nan_are_refused_by_name(manifest: Path) -> None:
    weights = manifest.parent / "m.safetensors"
    tensors = load_file(weights)
    tensors["0.bias"][0] = torch.nan
    save_file(tensors, weights)
    refused(edited(manifest), "0.bias has NaN or infinity")


def test_weights_of_another_architecture_are_refused(manifest: Path) -> None:
    save_file({"fc.weight": torch.zeros(2, 2)}, manifest.parent / "m.safetensors")
    refused(
        edited(manifest),
        r"do not fit graph: 4 missing \(0.bias, 0.weight, 3.bias\); 1 unknown \(fc.weight\)",
    )


def test_weights_of_another_size_are_refused(manifest: Path) -> None:
    weights = manifest.parent / "m.safetensors"
    save_file(load_file(weights) | {"3.weight": torch.zeros(2, 5)}, weights)
    refused(edited(manifest), "the graph's 'linear' can't be computed")


def test_a_side_that_the_graph_refuses_is_told(manifest: Path) -> None:
    refused(edited(manifest, side=20), "the graph's 'linear' can't be computed")


def test_weights_that_are_pickled_are_not_read(manifest: Path) -> None:
    (manifest.parent / "m.safetensors").rename(manifest.parent / "m.pth")
    entries = json.loads(manifest.read_text())
    entries["networks"]["m"]["file"] = "m.pth"
    manifest.write_text(json.dumps(entries))
    refused(manifest, "m.pth holds no weights that can be loaded safely")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "another"}'])
def test_a_graph_that_is_no_graph_is_refused(manifest: Path, text: str) -> None:
    (manifest.parent / "m.graph.json").write_text(text)
    refused(edited(manifest), "is no graph|is of the format")


def test_a_module_that_was_pickled_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    file = tmp_path / "module.pt"
    torch.save(classifier(), file)
    with pytest.raises(WeightsError, match=r"save module.state_dict\(\) as .safetensors"):
        tensors_of(file)


@pytest.mark.parametrize("name", ["model.onnx", "module.pt", "resnet18", "torchvision:"])
def test_a_source_that_is_none_says_how_a_module_is_written(name: str) -> None:
    with pytest.raises(WeightsError, match=r"weakpoints.export\(module"):
        source(name, None, None)


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x + y).flatten(1)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (lambda: Two(), "torch.export can't read this module for .N, 3, 16, 16.: .*'y'"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), "torch.export can't read"),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 17), nn.Flatten()), "torch.export can't read"),
    ],
    ids=["two inputs", "one channel", "a side that is too small"],
)
def test_a_module_for_other_pictures_is_refused_with_export_s_reason(
    module: Callable[[], nn.Module], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        graph_of(module(), SIDE)


GREEDY: dict[str, list[tuple[str, list[Any]]]] = {
    "would hold 81120000 numbers": [("repeat.default", [X, [1, 1, 325, 325]])],
    "splits an axis of 196608": [
        ("repeat.default", [X, [1, 1, 16, 16]]),
        ("flatten.using_ints", [{"value": "v0"}, 1]),
        ("split.Tensor", [{"value": "v1"}, 1, 1]),
    ],
    "is a number beyond": [
        ("int_mul", [2**39, 2**39]),
        ("int_mul", [{"value": "v0"}, {"value": "v0"}]),
    ],
}


@pytest.mark.parametrize("said", GREEDY)
def test_attributes_that_would_fill_the_memory_are_refused_before_they_do(said: str) -> None:
    operations = [
        Operation(f"v{i}", kind, tuple(arguments), {})
        for i, (kind, arguments) in enumerate(GREEDY[said])
    ]
    graph = Graph("x", tuple(operations), operations[-1].name)
    with pytest.raises(WeightsError, match=said):
        network_of_graph(graph, {"w": torch.zeros(1)}, SIDE)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labels": "ab"}, "labels is str"),
        ({"labels": {"ant", "bee"}}, "labels is set"),
        ({"labels": None}, "labels is NoneType"),
        ({"labels": [0, 1]}, "label 0 is 0"),
        ({"labels": ["ant", ""]}, "label 1 is ''"),
        ({"labels": {"ant": 0, "bee": 1}}, "label 0 is None"),
        ({"labels": iter(("ant", "bee", "cow"))}, "there are 3 labels"),
        ({"mean": (123.675, 116.28, 103.53)}, r"mean is \(123.675, .* from 0 to 1"),
        ({"mean": (0.5, 0.5, torch.nan)}, "mean is"),
        ({"mean": 0.5}, "mean is 0.5; three numbers"),
        ({"std": (0.5,)}, "three numbers"),
        ({"std": (0, 1, 1)}, "std is .* from 0.001 to 1"),
        ({"side": -1}, "side is -1"),
        ({"side": 1.5}, "side is 1.5"),
        ({"side": 10**6}, "side is 1000000; a whole number from 1 to 4096"),
    ],
)
def test_what_is_said_of_a_module_is_checked_as_a_manifest_is(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    told = {"labels": LABELS, "side": SIDE}
    with pytest.raises(WeightsError, match=words):
        Weakpoints(module=classifier(), device="cpu", **told | given)
    if not isinstance(given.get("labels"), Iterator):
        with pytest.raises(WeightsError, match=words):
            export(classifier(), name="m", to=tmp_path / "new", **told | given)
    assert not (tmp_path / "new").exists()


def test_a_dictionary_from_index_to_label_and_tensors_are_read() -> None:
    half = torch.full((3,), 0.5)
    for labels in ({1: "bee", 0: "ant"}, {"1": "bee", "0": "ant"}, iter(LABELS)):
        network = Weakpoints(
            module=classifier(), labels=labels, side=SIDE, mean=half, std=half, device="cpu"
        )
        assert network.detector.model.labels == LABELS


@pytest.mark.parametrize("wrong", ["resnet18", classifier().state_dict(), nn.Sequential])
def test_what_is_no_module_is_refused(wrong: Any) -> None:
    with pytest.raises(WeightsError, match=r"is no torch\.nn\.Module"):
        Weakpoints(module=wrong, labels=LABELS, side=SIDE, device="cpu")


def test_a_module_is_left_as_it_was_and_wrappers_are_taken_off() -> None:
    module = classifier().train()
    *_, relu, _, _ = module.children()
    relu.eval()
    expected, _ = graph_of(module, SIDE)
    assert [part.training for part in module.children()] == [True, False, True, True]
    assert graph_of(nn.DataParallel(module), SIDE)[0] == expected
    assert graph_of(torch.compile(module), SIDE)[0] == expected


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"networks": []}', '{"name": "app"}'])
def test_a_manifest_of_something_else_is_left_alone(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(WeightsError, match="not a manifest of networks"):
        export(classifier(), name="m", labels=LABELS, side=SIDE, to=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
