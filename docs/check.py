"""Is the documentation true? `make docs` runs this after the site is built.

README: its figures are those of benchmarks/results, its files are there, and its commands run as
they stand, against a service that `make serve` started on a free port. Pages: the commands that
they show are there, with their flags.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.settings import Settings
from docs import network_table
from docs.figures import ROOT, headline, help_of, read
from docs.figures import commands as named_commands
from docs.memory_bound import most_memory
from docs.pictures import photograph
from docs.running import serving
from docs.trade_tables import NETWORKS, WHERE, at_default

FOLDERS = "app|weakpoints|benchmarks|client|docs|integrations|model_weights|monitoring|tests"
README = ROOT / "README.md"
MODULES = [file for name in FOLDERS.split("|") for file in (ROOT / name).rglob("*.py")]
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FIGURES = re.compile(r"(?<=<!-- figures:)(.*?-->\n).*?(?=<!-- end of figures -->)", re.DOTALL)
MADE = ("demo/", "docs/_build", "model_weights/downloaded")  # by commands; not in the repository
FILE = re.compile(rf"(?:`|\]\()((?:\.\./)?(?:{FOLDERS})/[\w./-]*)(?:`|\))")
MODULE = re.compile(r"`([\w/]+\.py)`")  # named without its folder, or with the last one only
TARGET = re.compile(r"(?:^ {4}|`)make ([a-z]+)", re.MULTILINE)
POINT = re.compile(r'"x": (\S+), "y": (\S+), "confidence": (\S+),')
COMMAND = re.compile(r"^ {4}(?:[A-Z_]+=\S+ )*(weakpoints .*?)(?: +#.*)?$", re.MULTILINE)
BLOCK = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def main() -> int:
    if sys.argv[1:] == ["--write"]:
        README.write_text(
            FIGURES.sub(lambda found: found[1] + headline() + "\n", README.read_text())
        )
        return 0
    wrong = [*figures(), *claims(), *files(), *targets(), *commands(), *readme_runs()]
    for each in wrong:
        print(each, file=sys.stderr)
    print(f"documentation: {len(wrong)} wrong")
    return 1 if wrong else 0


def figures() -> Iterator[str]:
    if headline() not in README.read_text():
        yield "README.md: figures are not those of benchmarks/results: python -m docs.check --write"


def claims() -> Iterator[str]:
    """What the pages say in words of the measured figures."""
    for name, each in read("service").items():
        if name.endswith("_callers"):
            whole: tuple[int, int, dict[str, int]] = (read("service")["requests"], 0, {})
            if (each["answered"], each["mixed_up"], each["lost"]) != whole:
                yield f"performance.md: not every request was answered: {name}"
    yield from compared()
    for curve in (each for each in read("cost").values() if isinstance(each, list)):
        for point in curve:
            if point["peak_memory_bytes"] > read("cost")["budget_bytes"]:
                yield f"performance.md: more memory than the budget: {point['label']}"
    fuzz = read("fuzz")
    refused = {"bad-image", "too-large", "unsupported-media-type"}
    for kind, seen in fuzz["decoded"].items():
        if seen["inputs"] < 20_000 or set(seen["outcomes"]) - refused != {"decoded"}:
            yield f"CONTRIBUTING.md: tests/fuzz.py: the recorded run is short or failed: {kind}"
    if set(fuzz["sent"]["outcomes"]) != refused | {"answered"}:
        yield "CONTRIBUTING.md: tests/fuzz.py: the recorded run failed in the service"
    if max(each["growth_bytes"] for each in (*fuzz["decoded"].values(), fuzz["sent"])) > 50e6:
        yield "CONTRIBUTING.md: memory grew in the recorded run of tests/fuzz.py"
    yield from withstood(read("hostile"))
    for name in network_table.inexact():
        yield f"networks.md: the graph of {name} is not exact"
    if read("half")["float16"]["spearman"]["fused"]["least"] < 0.9999:
        yield "networks.md: float16 changes the fused map"


def compared() -> Iterator[str]:
    """Whether ours is ahead of others as the page says, by the interval of the difference."""
    for network in NETWORKS:
        everywhere = at_default(network)["f1"]["all"]
        for where in WHERE:
            for name in ("corners", "corners_spread", "grid", "random_weights"):
                if everywhere[where][name]["ours_less"]["interval"][0] <= 0:
                    yield f"evaluation.md: {network}, {where}: ours is not ahead of {name}"


def withstood(hostile: dict[str, Any]) -> Iterator[str]:
    """What hostile callers may cost ordinary ones."""
    beside = hostile["beside"]
    held = {
        "an ordinary caller lost something": not beside["lost"] and not beside["wrong"],
        "the run is short": beside["ordinary"] >= 8000,
        "a 5xx": not beside["hostile_5xx"],
        "more than 3 times the p95": hostile["p95_ratio"] <= 3,
        "probes are late": beside["livez_p99_ms"] < 100 and beside["livez_max_ms"] < 1000,
        "memory grew": hostile["memory_growth"] <= 0.1,
        "more memory than README says": beside["memory_highest_bytes"] < most_memory(Settings()),
    }
    for wrong in (what for what, well in held.items() if not well):
        yield f"performance.md: hostile callers: {wrong}"


def files() -> Iterator[str]:
    """What is named as a file of this repository has to be there."""
    for page in PAGES:
        for name in FILE.findall(page.read_text()):
            path = name.removeprefix("../")
            if not path.startswith(MADE) and not (ROOT / path).exists():
                yield f"{page.name}: there is no {name}"
        for name in set(MODULE.findall(page.read_text())):
            if not any(module.as_posix().endswith(f"/{name}") for module in MODULES):
                yield f"{page.name}: there is no {name}"


def targets() -> Iterator[str]:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in set(TARGET.findall(page.read_text())) - known:
            yield f"{page.name}: there is no make {name}"


def commands() -> Iterator[str]:
    """Every command that is shown exists, and its help tells of each flag that it is shown with."""
    every = named_commands()
    for page in PAGES:
        for line in COMMAND.findall(page.read_text()):
            words = shlex.split(line)[1:]
            known = [command for command in every if command == (*words[: len(command)],)]
            if not known:
                yield f"{page.name}: there is no {line}"
                continue
            told = help_of(*max(known, key=len))
            for flag in (word for word in words if word.startswith("--")):
                if flag not in told:
                    yield f"{page.name}: {line}: there is no {flag}"


def readme_runs() -> Iterator[str]:
    """README's curl and Python, as they stand but for the port, beside a photo.jpg."""
    text = README.read_text()
    lines = [line for line in BLOCK.findall(text) if line.startswith(("curl", "weakpoints"))]
    snippets = PYTHON.findall(text)
    if not lines or not snippets:
        yield "README.md: it shows no curl or no Python"
    if "    make serve" not in text:
        yield "README.md: it does not say make serve"
    with tempfile.TemporaryDirectory() as folder, serving("make", "serve") as (address, _):
        (Path(folder) / "photo.jpg").write_bytes(photograph())
        answers: list[str] = []
        for line in lines:
            yield from run(["bash", "-c", line], line, folder, address, answers)
        for snippet in snippets:
            yield from run([sys.executable, "-c", snippet], snippet, folder, address, answers)
    yield from answer_shown(text, answers[0])


def answer_shown(text: str, answered: str) -> Iterator[str]:
    """What is wrong with the first keypoint that README shows.

    It has to be the answer's strongest, to the digits that README shows.
    """
    shown = POINT.search(text)
    try:
        strongest = json.loads(answered)["keypoints"][0]
    except json.JSONDecodeError:
        return  # the command failed, and that has been said
    for name, figure in zip(("x", "y", "confidence"), shown.groups() if shown else (), strict=True):
        if f"{strongest[name]:.{len(figure.partition('.')[2])}f}" != figure:
            yield f"README.md: {name} of the strongest keypoint is {strongest[name]}, not {figure}"


def run(
    command: list[str], shown: str, folder: str, address: str, answers: list[str]
) -> Iterator[str]:
    here = [word.replace("http://localhost:8000", address) for word in command]
    here = [word.replace("localhost:8000", address) for word in here]
    done = subprocess.run(
        here,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    answers.append(done.stdout)
    if done.returncode or not done.stdout.strip():
        yield f"README.md: {shown}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"


if __name__ == "__main__":
    raise SystemExit(main())
