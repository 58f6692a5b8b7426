"""The tables of the documentation, made of the code and of benchmarks/results when the site is
built.

A page calls one of `TABLES` by its name: `{{ settings() }}`. `results.accuracy.top1` is a figure of
benchmarks/results/accuracy.json, so `{{ "%.2f" | format(results.accuracy.top1) }}` works in a
sentence.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, get_args

from annotated_types import DocInfo, Ge, Gt, Le
from prometheus_client.metrics import MetricWrapperBase

from app.cli.main import weakpoints
from app.decoding.pool import FIXED, PER_PIXEL
from app.service.observability.metrics import Metrics
from app.settings import Settings
from docs import memory_bound as bound
from tests.house import ROOMS, floors
from weakpoints.method.occlusion import box_count
from weakpoints.networks.manifest import Entry, read_manifest
from weakpoints.options import HINTS, NAMES, PRESETS, choose, resolve

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CALLERS = (1, 4, 16, 64)
WORKERS = (1, 2, 4)
EMBEDDED = "efficientnet_lite0"
Figures = dict[str, Any]


class Results:
    """Each file of benchmarks/results as an attribute; a missing one stops the build."""

    def __getattr__(self, name: str) -> Figures:
        return read(name)


@cache
def read(name: str) -> Figures:
    found: Figures = json.loads((RESULTS / f"{name}.json").read_text())
    return found


results = Results()


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    head = [*header]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def rooms() -> str:
    """The rooms of both packages by floor, the top one first."""
    columns = [
        [", ".join(f"`{room}`" for room in floor) for floor in floors(ROOMS[package])]
        for package in ("app", "weakpoints")
    ]
    lines = max(map(len, columns))
    padded = [[*column, *[""] * (lines - len(column))] for column in columns]
    return table(["`app/`", "`weakpoints/`"], zip(*padded, strict=True))


def memory_bound() -> str:
    """What the service takes at most with default settings, in GiB."""
    given = Settings()
    rows = (
        (
            "pictures at work, until their answer is read",
            f"`QUEUE_PIXELS` x {bound.HELD} bytes",
            bound.pictures(given),
        ),
        (
            "what is decoded or drawn now",
            f"`DECODERS` x `MAX_PIXELS` x {bound.WORKED} bytes",
            bound.at_once(given),
        ),
        (
            "the processes that decode (`RLIMIT_AS`)",
            f"`DECODERS` x ({FIXED >> 20} MiB + `MAX_PIXELS` x {PER_PIXEL} bytes)",
            bound.children(given),
        ),
        (
            "bodies that come, or wait to be decoded",
            f"`UPLOADS` x `MAX_BYTES` x {bound.SPARE}, and one more",
            bound.bodies(given),
        ),
        ("answers that are kept", "`CACHE_BYTES`", given.cache_bytes),
        ("all of it", "", bound.most_memory(given)),
    )
    return table(
        ("what", "at most (`WEAKPOINTS_...`)", "GiB by default"),
        ((what, how, f"{size / 2**30:.1f}") for what, how, size in rows),
    )


def settings() -> str:
    """Every variable of `Settings`, with its default and its meaning."""

    def default(value: object) -> str:
        if isinstance(value, Path):
            value = value.relative_to(ROOT) if value.is_relative_to(ROOT) else value.name
        return "" if value is None else f"`{value}`"

    known: dict[str, object] = {}
    for name, field in Settings.model_fields.items():
        known[name] = field.get_default(call_default_factory=True, validated_data=known)
    return table(
        ("variable", "default", "meaning"),
        (
            (f"`WEAKPOINTS_{name.upper()}`", default(known[name]), field.description)
            for name, field in Settings.model_fields.items()
        ),
    )


def metrics() -> str:
    """Every metric of `Metrics`; those of the process, `process_...`, come with Prometheus's
    client.
    """
    ours = [each for each in vars(Metrics()).values() if isinstance(each, MetricWrapperBase)]
    return table(
        ("metric", "kind", "labels", "meaning"),
        (
            (
                f"`{family.name}{'_total' if family.type == 'counter' else ''}`",
                family.type,
                ", ".join(f"`{label}`" for label in each._labelnames),
                family.documentation,
            )
            for each in ours
            for family in each.collect()
        ),
    )


def options() -> str:
    """Every option of a request: values, default, the paper's value, meaning."""
    preset, paper = PRESETS["default"], PRESETS["paper"]

    def row(name: str) -> tuple[str, str, str, str, str]:
        kind, *notes = get_args(HINTS[name])
        meaning = next(note.documentation for note in notes if isinstance(note, DocInfo))
        ours, theirs = getattr(preset, name), getattr(paper, name)
        return (
            f"`{name}`",
            values(kind, notes),
            code(ours),
            "" if theirs == ours else code(theirs),
            meaning,
        )

    return table(("option", "values", "default", "`preset=paper`", "meaning"), map(row, NAMES))


def networks() -> str:
    """Every network of the manifest: classes, input, default box, weights, licence."""
    entries = read_manifest(ROOT / "model_weights" / "manifest.json").values()

    def weights(entry: Entry) -> str:
        if entry.package:
            return "with the install"
        return f"`weakpoints weights pull {entry.name}`" if entry.url else "in the repository"

    def row(entry: Entry) -> tuple[object, ...]:
        chosen = resolve(choose(), entry.side, entry.labels, entry.defaults)
        return (
            f"`{entry.name}`",
            f"{len(entry.labels):,}",
            entry.side,
            f"{chosen.patch} / {chosen.stride}",
            box_count(entry.side, chosen) * chosen.colours,
            weights(entry),
            entry.licence,
        )

    header = ("network", "classes", "input side", "box / step", "passes", "weights", "licence")
    return table(header, map(row, entries))


def code(value: object) -> str:
    return "" if value is None else f"`{value}`"


def values(kind: object, notes: list[object]) -> str:
    """What an option may be: its words, or its range."""
    choices = [str(word) for word in get_args(kind) if isinstance(word, str)]
    if choices:
        return ", ".join(f"`{word}`" for word in choices)
    low = next((f"{note.ge}" for note in notes if isinstance(note, Ge)), None)
    above = next((f"more than {note.gt}" for note in notes if isinstance(note, Gt)), None)
    high = next((f"{note.le}" for note in notes if isinstance(note, Le)), None)
    if high is None:
        return ""
    return f"{low or above} to {high}"


def speed() -> str:
    """Occlusion against full passes and Captum."""

    def rival(figures: Figures, name: str) -> str:
        return f"{figures[name]['seconds_per_image']:.1f} ({figures[name]['ratio']:.1f}x)"

    return table(
        (
            "network",
            "boxes",
            "ours",
            "full passes, tuned",
            "Captum, best batch",
            "Captum, default",
            "theory",
            "measured with",
        ),
        (
            (
                name,
                each["ours"]["positions"],
                f"{each['ours']['seconds_per_image']:.2f}",
                *(rival(each, other) for other in ("full", "captum_best", "captum_default")),
                f"{each['theoretical_saving']:.2f}x",
                each["instructions"],
            )
            for name, each in read("occlusion").items()
            if isinstance(each, dict) and "ours" in each
        ),
    )


def rivals() -> str:
    """Occlusion of each network against what a user would pick instead, in one run each."""
    names = {
        "full": "PyTorch, tuned",
        "captum_best": "Captum, best batch",
        "openvino": "OpenVINO",
        "onnxruntime": "ONNX Runtime",
    }

    def cell(figures: Figures, name: str) -> str:
        if name not in figures:
            return ""
        return f"{figures[name]['seconds_per_image']:.2f} ({figures[name]['ratio']:.1f}x)"

    measured = [read(f"occlusion_{network}_rivals") for network in (EMBEDDED, "vgg16")]
    rows = (
        (
            figures["network"],
            figures["ours"]["positions"],
            f"{figures['ours']['seconds_per_image']:.2f}",
            *(cell(figures, name) for name in names),
        )
        for figures in measured
    )
    return table(("network", "boxes", "ours", *names.values()), rows)


def cost() -> str:
    """Seconds and memory against stride, patch, network and number of images."""
    return table(
        ("VGG-16 unless named", "boxes", "seconds", "MiB"),
        (
            (
                each["label"],
                each["positions"],
                f"{each['seconds']:.2f}",
                f"{each['peak_memory_bytes'] / 2**20:.0f}",
            )
            for curve in ("stride", "patch", "depth", "images")
            for each in read("cost")[curve]
        ),
    )


def stages() -> str:
    """Stages that touch a photograph at full size: seconds and MiB, now and before."""
    now, before = read("stages"), read("stages_before")
    sizes = ("12", "24", "48")

    def cell(figures: Figures, size: str, name: str) -> str:
        stage = figures[size]["stages"][name]
        return f"{stage['seconds']:.2f} ({stage['peak_memory_bytes'] / 2**20:.0f})"

    def waits(figures: Figures, size: str, name: str) -> str:
        return f"{figures[size]['service'][name]:.2f}"

    rows = [
        [name, *(f"{cell(now, size, name)}; {cell(before, size, name)}" for size in sizes)]
        for name in now["12"]["stages"]
    ]
    service = {
        "`/detect` less its occlusion": "beside_occlusion_seconds",
        "another caller's longest wait beside it": "small_beside_longest_seconds",
    }
    rows += [
        [name, *(f"{waits(now, size, key)}; {waits(before, size, key)}" for size in sizes)]
        for name, key in service.items()
    ]
    return table(["stage", *(f"{size} MP: now; before" for size in sizes)], rows)


def gpu() -> str:
    """VGG-16's boxes on a GPU, against the best whole passes that the tuner found there."""
    found = read("gpu")["vgg16-float16"]
    rows = [
        ("windows of values", found["ours"]),
        (f"whole passes, compiled, batch {found['full']['batch']}", found["full"]),
    ]
    return table(
        (f"{found['ours']['positions']} boxes, float16", "milliseconds", "times ours"),
        (
            (name, f"{1000 * way['seconds_per_image']:.1f}", f"{way['ratio']:.1f}")
            for name, way in rows
        ),
    )


def load() -> str:
    """The service under load, by the number of callers."""
    rows = []
    for callers in CALLERS:
        each = read("service")[f"{callers}_callers"]
        latency = each["latency_ms"]
        rows.append(
            (
                callers,
                f"{each['images_per_second']:.1f} ({each['of_the_engine']:.0%})",
                f"{latency['p50']:.0f} / {latency['p99']:.0f}",
                f"{each['livez_ms']['p99']:.0f}",
                each["refused"],
            )
        )
    return table(
        (
            "callers",
            "images a second (of the engine alone)",
            "answer ms, p50 / p99",
            "`/livez` ms, p99",
            "answered 429",
        ),
        rows,
    )


def hostile() -> str:
    """What ordinary callers, probes and memory see without hostile callers and beside them."""
    found = read("hostile")
    rest = {"alone": "memory_before_bytes", "beside": "memory_after_bytes"}
    rows = []
    for name, at_rest in rest.items():
        each = found[name]
        rows.append(
            (
                name,
                each["ordinary"],
                f"{each['refused_and_sent_again']} / {each['wrong'] + sum(each['lost'].values())}",
                " / ".join(f"{each[f'p{n}_ms']:.0f}" for n in (50, 95, 99)),
                f"{each['livez_p99_ms']:.0f} / {each['livez_max_ms']:.0f}",
                f"{each['memory_highest_bytes'] / 2**20:.0f} / {found[at_rest] / 2**20:.0f}",
            )
        )
    return table(
        (
            "hostile callers",
            "answered",
            "429 / wrong or lost",
            "answer ms, p50 / p95 / p99",
            "`/livez` ms, p99 / most",
            "MiB at most / at rest then",
        ),
        rows,
    )


def scale() -> str:
    """One, two and four workers on Ray; the network itself was measured with one and two."""
    found = read("scale")
    rows = []
    for workers in WORKERS:
        service = found[f"sleeping_service_{workers}"]
        batch = found[f"sleeping_collection_{workers}"]
        calm = service["at_load"]
        network = [found.get(f"network_{what}_{workers}") for what in ("service", "collection")]
        rows.append(
            (
                workers,
                f"{service['images_per_second']:.1f} ({service['efficiency']:.0%})",
                f"{calm['mean_s']:.3f} / {calm['p95_s']:.3f}",
                f"{batch['images_per_second']:.1f} ({batch['efficiency']:.0%})",
                f"{batch['start_s']:.0f} / {batch['total_s']:.0f}",
                *(
                    f"{each['images_per_second']:.2f} ({each['efficiency']:.0%})" if each else ""
                    for each in network
                ),
            )
        )
    return table(
        (
            "workers",
            "service, device sleeps",
            "seconds at 70 %",
            "collection, device sleeps",
            "first / last record",
            "service, network",
            "collection, network",
        ),
        rows,
    )


@cache
def help_of(*command: str) -> str:
    """What `weakpoints COMMAND --help` prints."""
    shown = subprocess.run(
        [sys.executable, "-m", "weakpoints", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
    )
    return f"```text\n{shown.stdout.strip()}\n```"


def commands() -> list[tuple[str, ...]]:
    """The words of each command, and of each of its own."""
    named = [(name, weakpoints[name]) for name in weakpoints if not name.startswith("-")]
    return [
        words
        for name, command in named
        for words in ((name,), *((name, inner) for inner in command if not inner.startswith("-")))
    ]


def span(interval: list[float], digits: int = 2) -> str:
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def headline() -> str:
    """README's table: the figures that matter, each beside its baseline.

    `python -m docs.check --write` puts it there.
    """
    curve = read(f"trade_{EMBEDDED}")["curve"]  # benchmarks/trade.py: one setting has all methods
    chosen = next(each for each in curve if "corners" in each["f1"]["all"]["whole"])
    marks = [each["whole"] for name, each in chosen["f1"].items() if name != "all"]
    right, vgg, busy = read(f"accuracy_{EMBEDDED}"), read("occlusion")["vgg16"], read("service")
    costs = {each["passes"]: each["cpu_s"] for each in read(f"cpu_time_{EMBEDDED}")["occlusions"]}

    def f1(name: str) -> str:
        return " and ".join(f"{each[name]['mean']:.2f}" for each in marks)

    return table(
        ("two CPU cores", "ours", "baseline"),
        (
            (
                f"right class on {right['images']} ImageNet photographs",
                f"{right['top1']:.1%}",
                f"{1 / 1000:.1%}, chance",
            ),
            (
                "F1 to landmarks of two collections, at 0.1, nobody is told the box",
                f1("ours"),
                f"plain corners {f1('corners')}, a grid {f1('grid')}, "
                f"random weights {f1('random_weights_not_rare')}",  # their best
            ),
            (
                "of two photographs in one, keypoints on the one asked for",
                f"{chosen['pairs']['mean']:.2f}",
                "about 0.5, chance",
            ),
            (
                "CPU seconds a detection, one thread",
                f"{costs[chosen['passes']]:.1f}",
                f"{costs[338]:.1f}, the 338 passes of the default before",
            ),
            (
                "seconds for VGG-16's 729 boxes",
                f"{vgg['ours']['seconds_per_image']:.1f}",
                f"Captum's best {vgg['captum_best']['seconds_per_image']:.1f}, "
                f"full passes, tuned, {vgg['full']['seconds_per_image']:.1f}",
            ),
            (
                "images a second, 16 callers (`bundled`, a device that sleeps)",
                f"{busy['16_callers']['images_per_second']:.1f}",
                f"{busy['engine']['images_per_second']:.1f}, the device alone",
            ),
        ),
    )
