"""`weakpoints networks add`."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from app.cli.main import main


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
