"""`weakpoints networks`."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model

from app.cli.main import main
from weakpoints import export


def test_a_network_of_torchvision_is_added_with_weights_and_labels_of_one_s_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    weights, labels = tmp_path / "mine.safetensors", tmp_path / "labels.json"
    save_file(get_model("squeezenet1_1", num_classes=2).state_dict(), weights)
    labels.write_text(json.dumps(["ant", "bee"]))
    add = ["networks", "add", "torchvision:squeezenet1_1", "--to", str(tmp_path / "out")]
    assert main([*add, "--weights", str(weights), "--labels", str(labels), "--name", "mine"]) == 0
    entry = json.loads((tmp_path / "out" / "manifest.json").read_text())["networks"]["mine"]
    assert (entry["architecture"], entry["side"]) == ("graph", 224)
    mine = ["--weights", str(weights), "--labels", str(labels), "--side", "96"]
    assert main([*add, *mine, "--name", "small"]) == 0
    entry = json.loads((tmp_path / "out" / "manifest.json").read_text())["networks"]["small"]
    assert (entry["side"], entry["occluder"]["patch"], entry["occluder"]["stride"]) == (96, 27, 14)
    labels.write_text(json.dumps(["ant", "bee", "cat"]))
    assert main([*add, "--weights", str(weights), "--labels", str(labels)]) == 1
    assert "size mismatch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "said"),
    [("squeezenet1_1", "torchvision:NAME or timm:NAME"), ("torchvision:none", "can't be made")],
)
def test_a_source_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    weights = tmp_path / "model.onnx"
    weights.touch()
    assert main(["networks", "add", source, "--to", str(tmp_path), "--weights", str(weights)]) == 1
    assert said in capsys.readouterr().err


def test_an_onnx_file_is_refused_with_what_to_do_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "model.onnx"
    weights.touch()
    add = ["networks", "add", "torchvision:squeezenet1_1", "--to", str(tmp_path / "out")]
    assert main([*add, "--weights", str(weights)]) == 1
    assert "is an ONNX file; give the PyTorch module" in capsys.readouterr().err


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    module = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.SiLU(), *head)
    return export(module, name="mine", labels=("ant", "bee"), side=28, to=tmp_path)


def test_networks_are_listed(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks", "list", "--manifest", str(manifest)]) == 0
    assert capsys.readouterr().out.split()[:2] == ["mine", "graph"]
    assert main(["networks", "list", "--manifest", str(manifest), "--json"]) == 0
    row = {"name": "mine", "architecture": "graph", "side": 28, "labels": 2, "here": True}
    assert json.loads(capsys.readouterr().out) == [row]


def test_a_network_is_shown(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tests' toy, whatever the name."""
    assert main(["networks", "show", "mine", "--manifest", str(manifest), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["network"], figures["form"], figures["side"]) == ("toy", "deltas", 56)
    assert main(["networks", "show", "mine", "--manifest", str(manifest)]) == 0
    shown = capsys.readouterr().out
    assert '"conv2d": 13' in shown
    assert f"saved                {figures['saved']:.2f}" in shown
