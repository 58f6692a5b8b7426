from pathlib import Path

import pytest
from platformdirs import user_data_path

from app.settings import Settings
from weakpoints.networks import manifest


def test_pulled_weights_lie_beside_the_manifest_unless_a_folder_is_given(tmp_path: Path) -> None:
    assert Settings(manifest=tmp_path / "mine.json").downloads == tmp_path / "downloaded"
    assert Settings(manifest=tmp_path / "mine.json", downloads=tmp_path).downloads == tmp_path


def test_the_manifest_of_an_installed_package_has_its_pulled_weights_with_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(manifest, "PACKAGED", tmp_path)
    assert Settings(manifest=tmp_path / "manifest.json").downloads == user_data_path("weakpoints")
