import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.service import encoded
from weakpoints.networks.modules.small_vgg import narrow_vgg16

TRAIN = Path(__file__).parents[1] / "model_weights" / "train.py"


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("train", TRAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "train", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "WIDTHS", (2, 3, 4, 5, 6))
    return module


@pytest.fixture
def folders(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two classes: dark and bright noise."""
    for part, count in (("train", 6), ("val", 2)):
        for name, low in (("dark", 0), ("bright", 150)):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(low, low + 100, (40, 50, 3)).astype(np.uint8)
                (tmp_path / part / name / f"{i}.png").write_bytes(encoded(noise))
    return tmp_path


def run(
    train: ModuleType, folders: Path, out: Path, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> dict[str, torch.Tensor]:
    out.mkdir(exist_ok=True)
    words = [
        "train.py",
        "--train",
        folders / "train",
        "--val",
        folders / "val",
        "--out",
        out,
        "--epochs",
        epochs,
        "--batch",
        4,
    ]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    train.main()
    return load_file(out / "bundled.safetensors")


def test_an_interrupted_training_goes_on_to_the_same_weights(
    train: ModuleType,
    folders: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = run(train, folders, folders / "whole", 3, monkeypatch)
    batches, calls = train.batches, []

    def interrupted(*args: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return batches(*args)

    monkeypatch.setattr(train, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(train, folders, folders / "parts", 3, monkeypatch)
    parts = run(train, folders, folders / "parts", 3, monkeypatch)
    assert "going on after epoch 2" in capsys.readouterr().out
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-5)
    report = json.loads((folders / "parts" / "bundled.report.json").read_text())
    assert set(report["per_class"]) == {"bright", "dark"}
    assert json.loads((folders / "parts" / "bundled.labels.json").read_text()) == ["bright", "dark"]
    narrow_vgg16((2, 3, 4, 5, 6), 2, batch_norm=False).load_state_dict(parts, strict=True)


def test_folders_with_other_classes_are_refused(
    train: ModuleType, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders / "val" / "other").mkdir()
    with pytest.raises(SystemExit, match="same class folders"):
        run(train, folders, folders / "out", 1, monkeypatch)
