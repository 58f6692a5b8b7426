"""The rules of the house: which room may import which, and documents that say what the code says."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from app.cli import main as cli
from app.options import NAMES
from app.performance.load import CALLERS
from app.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BASE = {"errors", "options", "progress"}
METHOD = BASE | {"networks", "incremental", "method"}
SERVICE = METHOD | {"decoding", "schemas", "settings", "loading", "service"}
MAY_IMPORT = {  # a room, and the rooms that it may look into
    "errors": set(),
    "progress": set(),
    "options": BASE,
    "settings": BASE,
    "networks": BASE | {"networks"},
    "incremental": BASE | {"networks", "incremental"},
    "method": METHOD,
    "decoding": BASE | {"method", "decoding"},
    "loading": METHOD | {"settings"},
    "schemas": BASE | {"method"},
    "service": SERVICE,
    "main": SERVICE,
    "batch": METHOD | {"decoding", "schemas", "batch"},
    "cluster": SERVICE | {"batch", "cluster"},
    "evaluation": METHOD | {"decoding", "schemas", "batch", "evaluation"},
    "performance": SERVICE | {"batch", "cluster", "evaluation", "performance"},
    "client": {"schemas"},
    "cli": SERVICE | {"batch", "cluster", "evaluation", "performance", "cli"},
}
WEB = {"fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings"}
TORCH = {"torch", "torchvision"}
MAY_NOT_IMPORT = {
    **dict.fromkeys(("errors", "options", "progress"), WEB | TORCH),
    **dict.fromkeys(("networks", "incremental", "method"), WEB),
    "decoding": WEB | TORCH,
    **dict.fromkeys(("settings", "schemas", "service", "main", "batch", "client", "cli"), TORCH),
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


def test_the_readme_has_every_setting_with_its_default_and_meaning() -> None:
    for name, field in Settings.model_fields.items():
        default = {
            "manifest": "`model_weights/manifest.json`",
            "downloads": "`model_weights/downloaded`",
            "api_keys": "",
        }.get(name, f"`{field.default}`")
        assert f"| `WEAKPOINTS_{name.upper()}` | {default} | {field.description} |" in README


def test_the_readme_names_every_option_and_every_command_that_it_shows_exists() -> None:
    for name in NAMES:
        assert f"`{name}`" in README
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets
    for command in set(re.findall(r"^weakpoints ([a-z]+)", README, re.MULTILINE)):
        with pytest.raises(SystemExit) as left:
            cli.main([command, "--help"])
        assert left.value.code == 0


def test_ci_runs_the_command_of_the_readme() -> None:
    assert "make test" in README
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


def performance_rows() -> list[str]:
    """README's table, from what was measured."""
    figures = json.loads((ROOT / "benchmarks" / "results" / "occlusion.json").read_text())
    return [
        f"| {name} | {each['ours']['positions']} | {each['ours']['seconds_per_image']:.2f} "
        + " ".join(
            f"| {each[rival]['seconds_per_image']:.1f} ({each[rival]['ratio']:.1f}x)"
            for rival in ("full", "captum_best", "captum_default")
        )
        + f" | {each['theoretical_saving']:.2f}x |"
        for name, each in figures.items()
        if isinstance(each, dict) and "ours" in each
    ]


def cost_rows() -> list[str]:
    figures = json.loads((ROOT / "benchmarks" / "results" / "cost.json").read_text())
    return [
        f"| {each['label']} | {each['positions']} | {each['seconds']:.2f} | {each['peak_memory_bytes'] / 2**20:.0f} |"
        for curve in ("stride", "patch", "depth", "images")
        for each in figures[curve]
    ]


def test_the_readme_s_tables_of_speed_are_the_measured_figures() -> None:
    for row in (*performance_rows(), *cost_rows()):
        assert row in README


def service_figures() -> dict[int, dict[str, Any]]:
    figures = json.loads((ROOT / "benchmarks" / "results" / "service.json").read_text())
    return {callers: figures[f"{callers}_callers"] for callers in CALLERS}


def test_the_readme_s_table_of_the_service_is_the_measured_one() -> None:
    figures = service_figures()
    for callers, each in figures.items():
        latency, livez = each["latency_ms"], each["livez_ms"]
        assert (
            f"| {callers} | {each['images_per_second']:.1f} ({100 * each['of_the_engine']:.0f} %) | {latency['p50']:.0f} / {latency['p99']:.0f} "
            f"| {livez['p99']:.0f} | {each['refused']} |"
        ) in README
    assert f"{figures[1]['on_top_ms']:.1f} ms an image on top" in README
    assert f"{figures[64]['memory_growth_bytes'] / 2**20:.1f} MiB" in README


def test_every_request_was_answered_for_its_own_image_and_the_probes_in_time() -> None:
    figures = service_figures()
    assert figures[1]["on_top_ms"] <= 5
    for each in figures.values():
        assert (each["answered"], each["mixed_up"], each["lost"]) == (2000, 0, {})
        assert each["livez_ms"]["p99"] < 50
        assert abs(each["memory_growth_bytes"]) < 2**24


def test_the_readme_says_of_half_precision_what_was_measured() -> None:
    figures = json.loads((ROOT / "benchmarks" / "results" / "half.json").read_text())
    half, coarse = figures["float16"], figures["float16"]["spearman"]["coarse"]
    assert half["spearman"]["fused"]["least"] >= 0.9999
    assert half["same_keypoints"] == {"first": 20, "within_px": 0.5, "mean": 1.0, "least": 1.0}
    assert f"{coarse['median']:.4f} in the median\nand {coarse['least']:.4f} at worst" in README
    assert (
        f"the coarse map's worst is {figures['bfloat16']['spearman']['coarse']['least']:.3f}"
        in README
    )
