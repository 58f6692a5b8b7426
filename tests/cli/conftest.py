from pathlib import Path

import numpy as np
import pytest

from tests.service import encoded
from weakpoints.method.detector import Detector


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> None:
    """Whatever network is asked for, it is a toy."""
    monkeypatch.setattr("app.loading.loaded", lambda *args: detector)


@pytest.fixture
def folder(tmp_path: Path, photograph: np.ndarray) -> Path:
    """Three photographs, one in a sub-folder, and one broken file."""
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "deep/c.webp")):
        (photos / name).write_bytes(
            encoded(
                np.roll(photograph, 9 * i, 1),
                {"jpg": "JPEG", "png": "PNG", "ebp": "WEBP"}[name[-3:]],
            )
        )
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "notes.txt").write_text("not a photograph")
    return photos
