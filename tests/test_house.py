"""The rules of the house: which room may import which."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app import __version__

ROOT = Path(__file__).parents[1]
BASE = {"errors", "options", "progress"}
METHOD = BASE | {"networks", "incremental", "method"}
SERVICE = METHOD | {"allocator", "decoding", "schemas", "settings", "loading", "service"}
MAY_IMPORT = {  # a room, and the rooms that it may look into
    "errors": set(),
    "allocator": set(),
    "progress": set(),
    "options": BASE,
    "settings": BASE,
    "networks": BASE | {"networks"},
    "incremental": BASE | {"networks", "incremental"},
    "method": METHOD,
    "decoding": BASE | {"allocator", "method", "decoding"},
    "loading": METHOD | {"settings"},
    "schemas": BASE | {"method"},
    "service": SERVICE,
    "main": SERVICE,
    "api": METHOD | {"settings", "schemas", "loading"},
    "batch": METHOD | {"decoding", "schemas", "batch"},
    "cluster": SERVICE | {"batch", "cluster"},
    "evaluation": METHOD | {"decoding", "schemas", "batch", "evaluation"},
    "performance": SERVICE | {"batch", "cluster", "evaluation", "performance"},
    "cli": SERVICE | {"batch", "cluster", "evaluation", "performance", "cli"},
}
WEB = {"fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings"}
TORCH = {"torch", "torchvision"}
MAY_NOT_IMPORT = {
    **dict.fromkeys(("errors", "allocator", "options", "progress"), WEB | TORCH),
    **dict.fromkeys(("incremental", "method"), WEB),
    "networks": WEB - {"pydantic"},  # the manifest is a file from outside, checked as one
    "decoding": WEB | TORCH,
    **dict.fromkeys(("settings", "schemas", "service", "main", "api", "batch", "cli"), TORCH),
}


def imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def room_of(file: Path) -> str:
    """The folder in `app/`, or the module that lies in `app/` itself."""
    first, *_ = file.relative_to(ROOT / "app").parts
    return first.removesuffix(".py")


FILES = sorted(
    file for file in (ROOT / "app").rglob("*.py") if file != ROOT / "app" / "__init__.py"
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way_and_the_edge_stays_at_the_edge(file: Path) -> None:
    room, found = room_of(file), imports(file)
    ours = {name.split(".")[1] for name in found if name.startswith("app.")}
    assert ours <= MAY_IMPORT[room]
    assert not {name.split(".")[0] for name in found} & MAY_NOT_IMPORT.get(room, set())


def test_ray_stays_in_its_room_and_its_proxies_and_readers_stay_light() -> None:
    for file in (ROOT / "app").rglob("*.py"):
        if file.parent.name != "cluster":
            assert not any(name.split(".")[0] == "ray" for name in imports(file)), file
        elif file.stem != "start":
            assert "torch" not in {name.split(".")[0] for name in imports(file)}
    light = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, app.cluster.proxy, app.cluster.reading; print('torch' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert light.stdout.strip() == "False"


def test_ci_runs_the_command_of_the_readme() -> None:
    assert "    make test" in (ROOT / "README.md").read_text()
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    newest = re.search(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__
