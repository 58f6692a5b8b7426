"""The wheel, unpacked elsewhere and used in an empty folder."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

from tests.service import encoded

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


def test_a_caller_who_has_a_package_called_app_is_not_in_the_way(
    unpacked: Path, tmp_path: Path
) -> None:
    """Nor is it for the process that decodes, which is started by the name of its module."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise RuntimeError('the caller has an app')")
    photograph = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    (tmp_path / "photo.png").write_bytes(encoded(photograph))
    path = os.pathsep.join([str(tmp_path), str(unpacked)])
    environment = os.environ | {"PYTHONPATH": path}
    # `-c` is what the installed command does, and has the folder itself on its path.
    code = "import sys; from weakpoints.__main__ import main; sys.exit(main())"
    # Not `batch`, nor `bundled`: Numba would compile for it, as nothing is cached beside the wheel.
    words = ["detect", "photo.png", "--network", "efficientnet_lite0"]
    command = [sys.executable, "-c", code, *words, "--patch", "96", "--stride", "96"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("photo.png: ")


EXTRA = {  # imported where they are wanted, by code that says what to install
    *("captum", "matplotlib", "opentelemetry", "pillow_heif", "ray", "timm", "triton", "uvloop"),
    *("benchmarks", "weakpoints_client"),  # a checkout's
}


def imported(folder: Path) -> Iterator[str]:
    """Top-level names of what the modules of a folder import, at whatever place."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


def test_whatever_it_imports_is_its_dependency_or_an_extra_s(unpacked: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=!~\[ ]", line)[0].lower() for line in project["dependencies"]}
    names = {name for folder in ("app", "weakpoints") for name in imported(unpacked / folder)}
    known = packages_distributions()
    missing = {
        name: known.get(name)
        for name in names - EXTRA - {"app", "weakpoints"} - set(sys.stdlib_module_names)
        if not declared & {each.lower().replace("_", "-") for each in known.get(name, ())}
    }
    assert not missing
