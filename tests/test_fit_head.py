"""`model_weights/fit_head.py`: given convolutions, a head of its own."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.service import encoded
from tests.toys import seeded
from weakpoints.loading import load_detector
from weakpoints.networks.modules.small_vgg import narrow_vgg16

SCRIPT = Path(__file__).parents[1] / "model_weights" / "fit_head.py"


@pytest.fixture
def fit_head(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit_head", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fit_head", module)
    spec.loader.exec_module(module)
    return module


def test_softmax_regression_separates_what_a_plane_separates(fit_head: ModuleType) -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    x = torch.randn(60, 5, generator=rng) + 6 * torch.eye(3, 5)[labels] + 100
    assert (fit_head.softmax_regression(x, labels, 3)(x).argmax(1) == labels).all()


def test_a_head_is_fitted_on_given_convolutions_and_the_manifest_loads(
    fit_head: ModuleType,
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = seeded(narrow_vgg16((2, 3, 4, 5, 6), 2, batch_norm=False))
    state = {name: each.half() for name, each in model.state_dict().items() if "features" in name}
    save_file(state, tmp_path / "convolutions.safetensors")
    images = {}
    for name, low in (("bright", 150), ("dark", 0)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(4):
            noise = rng.integers(low, low + 100, (40, 50, 3)).astype(np.uint8)
            (tmp_path / "train" / name / f"{i}.png").write_bytes(encoded(noise))
            images[name] = noise
    words = ["--convolutions", "convolutions.safetensors", "--train", "train", "--out", "out"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fit_head.py", *words, "--side", "32", "--name", "mine"])
    fit_head.main()
    assert "8 photographs, 1.0000 of them right" in capsys.readouterr().out
    entry = json.loads((tmp_path / "out" / "manifest.json").read_text())["networks"]["mine"]
    assert entry["widths"] == [2, 3, 4, 5, 6]
    detector = load_detector(tmp_path / "out" / "manifest.json", "mine", "cpu")
    for i, name in enumerate(detector.model.labels):
        assert detector.classify(images[name]).argmax() == i, name
    monkeypatch.setattr(fit_head, "features", None)  # what is kept is not computed again
    fit_head.main()
