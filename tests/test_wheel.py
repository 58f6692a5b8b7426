"""The wheel, unpacked elsewhere and used in an empty folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("wheel")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = built.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


def run(unpacked: Path, empty: Path, *words: str) -> str:
    """What `weakpoints` prints with nothing of this checkout in reach."""
    environment = os.environ | {"PYTHONPATH": str(unpacked), "XDG_DATA_HOME": str(empty / "data")}
    command = [sys.executable, "-m", "weakpoints", *words]
    return subprocess.run(
        command, cwd=empty, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_it_has_one_folder_in_it_and_neither_tests_nor_training(unpacked: Path) -> None:
    (information,) = unpacked.glob("weakpoints-*.dist-info")
    assert {each.name for each in unpacked.iterdir()} == {
        "app",
        "weakpoints",
        information.name,
    }
    assert not (unpacked / "weakpoints" / "model_weights" / "train.py").exists()


def test_a_benchmark_asks_for_a_checkout(unpacked: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as ended:
        run(unpacked, tmp_path, "benchmark", "occlusion", "--network", "bundled")
    assert ended.value.returncode == 1
    assert "in a checkout of the project" in ended.value.stderr


def test_it_finds_its_networks_and_its_figures(unpacked: Path, tmp_path: Path) -> None:
    found = json.loads(run(unpacked, tmp_path, "weights", "verify", "--json"))
    assert [each["state"] for each in found] == ["here"] * len(found)
    assert "bundled" in {each["name"] for each in found}
    asked = "from app.settings import Settings; print(Settings().downloads)"
    command = [sys.executable, "-c", asked]
    environment = os.environ | {"PYTHONPATH": str(unpacked), "XDG_DATA_HOME": str(tmp_path)}
    downloads = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    assert Path(downloads.strip()) == tmp_path / "weakpoints"
