"""The rules of the house: which room may import which."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import BASE, HOUSE, ROOMS
from tests.mirrors import WITHOUT_MIRROR
from weakpoints import __version__

ROOT = Path(__file__).parents[1]
WEB = {"fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings"}
TORCH = {"torch", "torchvision"}
WITH_TORCH = ("engine", "method", "landmarks", "loading", "api", "evaluation")
MAY_NOT_IMPORT = {
    ("weakpoints", "networks"): WEB - {"pydantic"},  # the manifest is a file from outside
    ("weakpoints", "images"): WEB | TORCH,
    **dict.fromkeys(
        [("weakpoints", room) for room in BASE | {"given_options", "coco"}], WEB | TORCH
    ),
    **dict.fromkeys([("weakpoints", room) for room in WITH_TORCH], WEB),
    **dict.fromkeys([("app", room) for room in HOUSE], TORCH),
    ("app", "cluster"): set(),
    ("app", "decoding"): WEB | TORCH,
    ("app", "allocator"): WEB | TORCH,
}


def imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def room_of(file: Path) -> tuple[str, str]:
    """The package, and its folder or module."""
    package, first, *_ = file.relative_to(ROOT).parts
    return package, first.removesuffix(".py")


FILES = sorted(
    file
    for package in ROOMS
    for file in (ROOT / package).rglob("*.py")
    if file != ROOT / package / "__init__.py"
)


def test_imports_point_one_way_and_the_edge_stays_at_the_edge() -> None:
    for file in FILES:
        (package, room), names = room_of(file), imports(file)
        for name in names:
            top, _, rest = name.partition(".")
            if top == package and rest:
                assert rest.split(".")[0] in ROOMS[package][room], f"{file} imports {name}"
            if package == "weakpoints" and room != "__main__":
                assert top != "app", f"{file} imports {name}: the library knows no service"
            assert top not in MAY_NOT_IMPORT.get((package, room), set()), f"{file} imports {name}"


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


SERVICE_ROOMS = {  # a room of `app/service`, and what of `app/service` it may look into
    "observability": set(),
    "http": {"http", "observability"},
    "intake": {"intake"},
    "scheduling": {"scheduling", "observability"},
    "labelstudio": {"labelstudio", "http", "intake", "scheduling", "observability"}
    | {"answers", "named_answers", "references", "landmark_sets", "lifecycle"},
    "api": {"api", "http", "intake", "scheduling", "observability"}
    | {"answers", "named_answers", "references", "lifecycle"},
}
KNOWS_NO_WEB = {"scheduling"}


def test_the_rooms_of_the_service_know_only_what_they_have_to() -> None:
    """Intake knows no scheduling, scheduling knows no HTTP, and only routes know all of them."""
    service = ROOT / "app" / "service"
    for room, known in SERVICE_ROOMS.items():
        files = list((service / room).rglob("*.py"))
        assert files, room
        for file in files:
            for name in imports(file):
                parts = name.split(".")
                if parts[:2] == ["app", "service"] and len(parts) > 2:
                    assert parts[2] in known, f"{file} imports {name}"
                if room in KNOWS_NO_WEB:
                    assert parts[0] not in WEB, f"{file} imports {name}"


def test_one_file_wires_the_service() -> None:
    for file in (ROOT / "app" / "service").rglob("*.py"):
        if file.name not in ("app.py", "server.py"):
            assert "app.service.app" not in imports(file), file
        if file.name != "app.py":
            assert ".add_middleware(" not in file.read_text() or file.parent.name == "http", file


def mirror_of(module: str) -> Path:
    """Its test file: packages of the service and of the library share the folders of the tests."""
    package, *folders, name = module.split("/")
    folder = {"client": ["client"], "benchmarks": ["benchmarks"]}.get(package, folders)
    return ROOT.joinpath("tests", *folder, f"test_{name}")


def test_every_module_has_its_tests_or_a_sentence_why_not() -> None:
    tops = [ROOT / top for top in (*ROOMS, "benchmarks", "client/src")]
    files = [file for top in tops for file in top.rglob("*.py") if file.name != "__init__.py"]
    modules = [str(file.relative_to(ROOT)) for file in files]
    for module in (module for module in modules if not mirror_of(module).exists()):
        assert any(module.startswith(known) for known in WITHOUT_MIRROR), (
            f"{module} has no {mirror_of(module).relative_to(ROOT)}, and no sentence in "
            "tests/mirrors.py"
        )
    for known, sentence in WITHOUT_MIRROR.items():
        for named in re.findall(r"tests/[\w/]+\.py", sentence):
            assert (ROOT / named).exists(), f"{known}: there is no {named}"


@pytest.mark.xdist_group("house")
def test_the_tests_of_a_group_stay_in_one_worker(request: pytest.FixtureRequest) -> None:
    """Else each worker starts a cluster, a browser and a service of its own."""
    if getattr(request.config.option, "loadgroup", False):  # in a worker of `--dist loadgroup`
        assert request.node.nodeid.endswith("@house"), "pytest-xdist marks a group by its name"
