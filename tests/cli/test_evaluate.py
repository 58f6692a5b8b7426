import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import main as cli
from tests.service import encoded
from tests.toys import LABELS
from weakpoints.method.detector import Detector


def test_accuracy_counts_what_the_network_names_rightly(
    tmp_path: Path, photograph: np.ndarray, detector: Detector, capsys: pytest.CaptureFixture[str]
) -> None:
    named = LABELS[int(detector.classify(photograph).argmax())]
    wrong = next(label for label in LABELS if label != named)
    for label in (named, wrong):
        (tmp_path / label).mkdir()
        (tmp_path / label / "photo.png").write_bytes(encoded(photograph))
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["top1"], found["top1_per_class"], found["images"]) == (0.5, 0.5, 2)
    (tmp_path / named / "broken.png").write_bytes(b"x")
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path)]) == 1
    assert "broken.png" in capsys.readouterr().err
    (tmp_path / "unicorn").mkdir()
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path)]) == 1
    assert "unicorn" in capsys.readouterr().err
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path / "nowhere")]) == 2


def test_accuracy_of_unreadable_folders_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "broken.png").write_bytes(b"x")
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path)]) == 1
    assert "could be read" in capsys.readouterr().err
