"""The steps of `benchmarks.gpu`: each yields figures under a name, which are kept at once."""

import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from app.settings import Settings
from benchmarks.machine import seconds
from benchmarks.modules import skeleton
from benchmarks.precision import precision_fidelity
from benchmarks.several import served
from benchmarks.speed import speed_of, speed_setting
from weakpoints.engine.engine import Incremental
from weakpoints.engine.trial import TrialBoxes, whole_passes
from weakpoints.loading import load_detector
from weakpoints.method.detector import Detector
from weakpoints.method.rehearsal import rehearse
from weakpoints.networks.manifest import Entry, find
from weakpoints.networks.network import Network, converted
from weakpoints.networks.precision import arithmetic, windows
from weakpoints.options import Options, Precision

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ON_GPU = DEVICE == "cuda"
WORK = Path(os.environ.get("GPU_WORK", "."))
PRECISIONS: tuple[Precision, ...] = ("float16", "tf32", "float32")
POSITIONS = 729 if ON_GPU else 200
WAITING = (1, 4, 16) if ON_GPU else (1, 2)
GPU_BATCH = 8 if ON_GPU else 1
Figures = dict[str, Any]
StepFigures = Iterator[tuple[str, Any]]


def tests(*arguments: str) -> StepFigures:
    """What pytest says of the tests that need a GPU; here it only collects them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        [*command, *([] if ON_GPU else ["--collect-only"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (Path(os.environ.get("OUT", WORK)) / "tests.txt").write_text(done.stdout)
    counts = re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout[-300:])
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    yield "pytest", {word: int(count) for count, word in counts} | {"lines": lines[:20]}


def network(name: str) -> StepFigures:
    """All figures of one network, the most wanted first."""
    begun = time.perf_counter()
    quick = load_detector(manifest(name), name, DEVICE)
    yield "load_seconds", time.perf_counter() - begun
    yield "precision", quick.model.precision
    yield "paths", [vars(path) for path in quick.model.paths]
    begun = time.perf_counter()
    rehearse(quick, 1)
    yield "rehearse_1_seconds", time.perf_counter() - begun
    yield "detection", detection_seconds(quick)
    if ON_GPU:
        yield f"{name}-float16", occlusion_speed(name, "float16")
    yield from agreement(name, quick.network)
    exact = load_detector(manifest(name), name, DEVICE, precision="float32")
    yield "fidelity", precision_fidelity(exact, quick, sample_paths(), Options(), WAITING, list)
    for precision in ("tf32", "float32") if ON_GPU else ():
        yield f"{name}-{precision}", occlusion_speed(name, precision)
    begun = time.perf_counter()
    rehearse(quick, GPU_BATCH)
    yield "rehearse_8_seconds", time.perf_counter() - begun


def manifest(name: str) -> Path:
    """The product's own, or for a network whose weights are not here one with random weights."""
    ours = Settings().manifest
    if find(ours, name).path.exists():
        return ours
    path = WORK / name / "manifest.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = skeleton(find(ours, name))
        weights = path.with_name("random.safetensors")
        save_file(module.state_dict(), weights)
        fields = json.loads(ours.read_text())["networks"][name]
        if "labels" in fields and not fields["labels"].startswith("torchvision:"):
            labels = ours.parent / fields["labels"]
            path.with_name(labels.name).write_bytes(labels.read_bytes())
            fields["labels"] = labels.name
        fields |= {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
        path.write_text(json.dumps({"networks": {name: fields}}))
    return path


def entry(name: str) -> Entry:
    return find(manifest(name), name)


def sample_paths() -> list[Path]:
    folder = Path(os.environ.get("GPU_PHOTOGRAPHS", "."))
    own = Path(__file__).parents[1] / "weakpoints" / "trial.png"
    return sorted(folder.glob("*.jpg"))[: 16 if ON_GPU else 2] or [own]


def detection_seconds(detector: Detector) -> Figures:
    """Milliseconds of each stage of a default detection, the median of seven."""
    data = sample_paths()[0].read_bytes()
    answers = [detector(data, Options(), Settings().limits) for _ in range(9 if ON_GPU else 3)]
    return {
        "stages_ms": {
            stage: statistics.median(answer.timing_ms[stage] for answer in answers[2:])
            for stage in answers[-1].timing_ms
        },
        "same_bits_twice": bool((answers[-1].maps.fused == answers[-2].maps.fused).all()),
    }


def occlusion_speed(name: str, precision: Precision) -> Figures:
    """Ours against whole passes in their best batch, plain or compiled."""
    figures = speed_of(
        entry(name), POSITIONS, ["full"], rounds=7, device=DEVICE, precision=precision
    )
    return figures | {"weights": "random" if "random" in entry(name).path.name else "trained"}


@torch.inference_mode()
def agreement(name: str, network: Network) -> StepFigures:
    """Drops of the likeliest class's logit, windows in each precision against masked whole passes
    in float64: the largest difference over the largest drop, and the correlation.

    Of every eighth box, over noise; and the seconds of the windows of all boxes.
    """
    where = speed_setting(entry(name).side, POSITIONS)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 3, where.side, where.side, generator=generator).to(network.like)
    colours = torch.randn(len(where.corners), 3, generator=generator).to(x)
    some = TrialBoxes(x, where.corners[::8], where.box, colours[::8])
    exact = Network(converted(network.layers, torch.float64))
    target = int(exact.logits(x.double()).argmax())
    drops = (exact.logits(x.double()) - whole_passes(exact, some))[:, target]
    for precision in PRECISIONS:
        with arithmetic(DEVICE, precision):
            engine = Incremental(network, dtype=windows(precision))
            trace, logits, taken = network.trace(x), torch.empty(0), list[float]()
            for _ in range(6 if ON_GPU else 1):  # as it is, recorded, played
                begun = time.perf_counter()
                logits = engine.logits(trace, where.corners, where.box, colours)
                trace.logits.sum().item()  # waits for the device
                taken.append(time.perf_counter() - begun)
            mine = (trace.logits - logits)[::8, target].double()
            whole = (trace.logits - whole_passes(network, some))[:, target].double()
        yield (
            f"agreement_{precision}",
            {
                "windows": logit_differences(mine, drops),
                "whole_passes": logit_differences(whole, drops),
                "windows_seconds": min(taken),
            },
        )


def logit_differences(actual: Tensor, expected: Tensor) -> Figures:
    return {
        "largest_difference_of_largest_drop": float(
            (actual - expected).abs().max() / expected.abs().max()
        ),
        "correlation": float(torch.corrcoef(torch.stack([actual, expected]))[0, 1]),
    }


def service_seconds() -> StepFigures:
    """`weakpoints serve`: how long it starts, and the answers a second of sixteen callers."""
    name = "efficientnet_lite0" if ON_GPU else "bundled"
    os.environ |= {"WEAKPOINTS_NETWORK": name, "WEAKPOINTS_DEVICE": DEVICE}
    files = [path.read_bytes() for path in sample_paths()]
    many = [files[i % len(files)] for i in range(128 if ON_GPU else 2)]
    begun = time.perf_counter()
    with served(8765) as (client, _), ThreadPoolExecutor(16) as callers:
        yield "start_seconds", time.perf_counter() - begun
        yield "one_caller_seconds", [timed_call(client, many[0]) for _ in range(5)]
        begun = time.perf_counter()
        took = list(callers.map(lambda data: timed_call(client, data), many))
        yield "answers_per_second", len(took) / (time.perf_counter() - begun)
        yield "p95_seconds", sorted(took)[int(len(took) * 0.95)]


def timed_call(client: Any, data: bytes) -> float:
    return seconds(lambda: client.detect(data), "cpu")
