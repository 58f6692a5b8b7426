"""The steps of `benchmarks.gpu`, each of which answers with figures."""

import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from app.settings import Settings
from benchmarks.machine import seconds
from benchmarks.precision import fidelity
from benchmarks.several import service as served
from benchmarks.speed import setting, speed_of
from weakpoints.engine.engine import BUDGET, Incremental
from weakpoints.engine.tiles.cuda_graphs import unrecorded
from weakpoints.engine.trial import Boxes, whole_passes
from weakpoints.loading import load_detector
from weakpoints.method.detector import Detector
from weakpoints.networks.architectures import skeleton
from weakpoints.networks.manifest import Entry, find
from weakpoints.networks.network import Network, converted
from weakpoints.networks.precision import arithmetic, windows
from weakpoints.options import Options, Precision, choose

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ON_GPU = DEVICE == "cuda"
WORK = Path(os.environ.get("GPU_WORK", "."))
NETWORKS = ("vgg16", "efficientnet_lite0", "bundled") if ON_GPU else ("bundled",)
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "float16")
POSITIONS = 729 if ON_GPU else 200
WAITING = (1, 4, 16) if ON_GPU else (1, 2)
Figures = dict[str, Any]


def tests(arguments: list[str]) -> Figures:
    """What pytest says. Its output goes beside the figures."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    if not ON_GPU:
        command = [each for each in command if each not in ("-n", "12")] + ["--co", "-q"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    name = "tests_gpu.txt" if "gpu" in arguments else "tests_folders.txt"
    (Path(os.environ.get("OUT", WORK)) / name).write_text(done.stdout)
    print(done.stdout[-3000:])
    counts = {
        word: int(count)
        for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout[-300:])
    }
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"status": done.returncode, **counts, "lines": lines[:40]}


def manifest(name: str) -> Path:
    """The product's own, or for a network whose weights are not here one with random weights."""
    ours = Settings().manifest
    if find(ours, name).path.exists():
        return ours
    folder = WORK / name
    path = folder / "manifest.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = skeleton(find(ours, name))
        save_file(module.state_dict(), folder / "weights.safetensors")
        digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
        fields = json.loads(ours.read_text())["networks"][name]
        fields = {k: v for k, v in fields.items() if k not in ("url", "package")}
        fields |= {"file": "weights.safetensors", "sha256": digest}
        path.write_text(json.dumps({"networks": {name: fields}}))
    return path


def detector(name: str, precision: Precision = "auto") -> Detector:
    return load_detector(manifest(name), name, DEVICE, precision=precision)


def entry(name: str) -> Entry:
    return find(manifest(name), name)


def trial() -> Figures:
    """Which fast paths every network runs on, and how long it takes to be loaded."""
    found: Figures = {}
    for name in NETWORKS:
        for precision in ("auto", "float32"):
            begun = time.perf_counter()
            loaded = detector(name, precision)
            found[f"{name} {precision}"] = {
                "seconds": time.perf_counter() - begun,
                "precision": loaded.model.precision,
                "paths": [vars(path) for path in loaded.model.paths],
            }
    return found


def occlusion(name: str, precision: Precision) -> Figures:
    """Ours against whole passes in their best batch, plain or compiled."""
    rounds = 7 if ON_GPU else 1
    return speed_of(
        entry(name), POSITIONS, ["full"], rounds=rounds, device=DEVICE, precision=precision
    )


def boxes_of(name: str, network: Network) -> Boxes:
    """A photograph's worth of noise, and boxes of two colours in turn."""
    where = setting(entry(name).side, POSITIONS)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 3, where.side, where.side, generator=generator)
    colours = torch.randn(2, 3, generator=generator).repeat(len(where.corners), 1)
    return Boxes(x.to(network.like), where.corners, where.box, colours[: len(where.corners)])


@torch.inference_mode()
def agreement() -> Figures:
    """Drops of the likeliest class's logit, windows in each precision against masked whole passes
    in float64: the largest difference over the largest drop, and the correlation.
    """
    found: Figures = {}
    for name in NETWORKS:
        network = detector(name, "float32").network
        boxes = boxes_of(name, network)
        exact = Network(converted(network.layers, torch.float64))
        expected = in_parts(exact, boxes)
        clean = exact.logits(boxes.x.double())
        target = int(clean.argmax())
        drops = (clean - expected)[:, target]
        for precision in PRECISIONS:
            with arithmetic(DEVICE, precision):
                engine = Incremental(network, dtype=windows(precision))
                trace = network.trace(boxes.x)
                for _ in range(3):  # as it is, recorded, played
                    logits = engine.logits(
                        trace, boxes.corners, boxes.side, boxes.colours.to(trace.x)
                    )
                mine = (trace.logits - logits)[:, target].double()
                whole = (trace.logits - in_parts(network, boxes))[:, target].double()
            found[f"{name} {precision}"] = {
                "windows": apart(mine, drops),
                "whole_passes": apart(whole, drops),
            }
    return found


def in_parts(network: Network, boxes: Boxes) -> Tensor:
    """`whole_passes`, 64 pictures at a time."""
    parts = [
        Boxes(boxes.x, boxes.corners[i : i + 64], boxes.side, boxes.colours[i : i + 64])
        for i in range(0, len(boxes.corners), 64)
    ]
    return torch.cat([whole_passes(network, part) for part in parts])


def apart(found: Tensor, expected: Tensor) -> Figures:
    return {
        "largest_difference_of_largest_drop": float(
            (found - expected).abs().max() / expected.abs().max()
        ),
        "correlation": float(torch.corrcoef(torch.stack([found, expected]))[0, 1]),
    }


def stages() -> Figures:
    """Where the time of one occlusion goes: the kernels of a call, and the call without graphs."""
    found: Figures = {}
    for name in NETWORKS:
        for precision in ("float16", "float32") if ON_GPU else ("float32",):
            found[f"{name} {precision}"] = staged(name, precision)
    return found


def staged(name: str, precision: Precision) -> Figures:
    network = detector(name, "float32").network
    boxes = boxes_of(name, network)
    rows: Figures = {}
    with arithmetic(DEVICE, precision):
        for label, recorder in (("graphs", None), ("launches", unrecorded())):
            engine = Incremental(network, dtype=windows(precision), recorder=recorder)
            trace = network.trace(boxes.x)
            colours = boxes.colours.to(trace.x)

            def run(engine=engine, trace=trace, colours=colours) -> Tensor:
                return engine.logits(trace, boxes.corners, boxes.side, colours)

            for _ in range(3):
                run()
            taken = statistics.median(seconds(run, DEVICE) for _ in range(5))
            rows[label] = {"seconds": taken, **profiled(run)}
        rows["trace_seconds"] = statistics.median(
            seconds(lambda: network.trace(boxes.x), DEVICE) for _ in range(5)
        )
        rows["products"] = vars(engine.products(boxes.x.shape[-1], boxes.side, boxes.corners))
    return rows


def profiled(run: Any) -> Figures:
    """The kernels of one run by the time that they take."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if ON_GPU:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        run()
        if ON_GPU:
            torch.cuda.synchronize()
    events = [e for e in profile.key_averages() if str(e.device_type).endswith("CUDA")]
    events.sort(key=lambda e: e.self_device_time_total, reverse=True)
    return {
        "kernels": sum(e.count for e in events),
        "kernel_seconds": sum(e.self_device_time_total for e in events) / 1e6,
        "longest": [
            [e.key[:90], e.count, round(e.self_device_time_total / 1e6, 6)] for e in events[:14]
        ],
    }


def photographs() -> list[Path]:
    folder = Path(os.environ.get("GPU_PHOTOGRAPHS", "."))
    own = Path(__file__).parents[1] / "app" / "trial.png"
    return sorted(folder.glob("*.jpg"))[: 16 if ON_GPU else 2] or [own]


def throughputs() -> Figures:
    """Whole detections with default options: images a second as more of them wait, and how alike
    the answers are to float32's.
    """
    found: Figures = {}
    for name in NETWORKS:
        exact, quick = detector(name, "float32"), detector(name, "auto")
        found[name] = fidelity(exact, quick, photographs(), Options(), WAITING, list)
        image = photographs()[0]
        timing = quick(image.read_bytes(), choose(), Settings().limits).timing_ms
        again = quick(image.read_bytes(), choose(), Settings().limits)
        third = quick(image.read_bytes(), choose(), Settings().limits)
        found[name] |= {
            "stages_ms": dict(timing),
            "same_bits_twice": bool((again.maps.fused == third.maps.fused).all()),
        }
        print(name, found[name]["images_per_second"], flush=True)
    return found


def memory() -> Figures:
    """The peak of an occlusion beside what its budget allows, and what the budget does to speed."""
    found: Figures = {}
    name = NETWORKS[0]
    network = detector(name, "float32").network
    boxes = boxes_of(name, network)
    for mebibytes in (256, 1024, 4096, 16384) if ON_GPU else (64, 256):
        for precision in ("float16", "float32") if ON_GPU else ("float32",):
            with arithmetic(DEVICE, precision):
                engine = Incremental(network, mebibytes * 2**20, windows(precision))
                trace = network.trace(boxes.x)
                colours = boxes.colours.to(trace.x)

                def run(engine=engine, trace=trace, colours=colours) -> Tensor:
                    return engine.logits(trace, boxes.corners, boxes.side, colours)

                before = torch.cuda.memory_reserved() if ON_GPU else 0
                taken = [seconds(run, DEVICE) for _ in range(5)]
                found[f"{name} {precision} {mebibytes} MiB"] = {
                    "seconds": taken,
                    "reserved_bytes": torch.cuda.memory_reserved() - before if ON_GPU else None,
                    "peak_allocated": torch.cuda.max_memory_allocated() if ON_GPU else None,
                }
                del engine
            if ON_GPU:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
    return found | {"default_budget_bytes": BUDGET[DEVICE]}


def service() -> Figures:
    """`weakpoints serve` with the default network: answers a second of sixteen callers."""
    network = "efficientnet_lite0" if ON_GPU else "bundled"
    os.environ |= {"WEAKPOINTS_NETWORK": network, "WEAKPOINTS_DEVICE": DEVICE}
    files = [path.read_bytes() for path in photographs()]
    many = [files[i % len(files)] for i in range(128 if ON_GPU else 2)]
    begun = time.perf_counter()
    with served(8765) as (client, _), ThreadPoolExecutor(16) as callers:
        start = time.perf_counter() - begun
        one = [call(client, many[0]) for _ in range(5)]
        list(callers.map(lambda data: call(client, data), many[:16]))
        begun = time.perf_counter()
        took = list(callers.map(lambda data: call(client, data), many))
        whole = time.perf_counter() - begun
    return {
        "network": network,
        "start_seconds": start,
        "one_caller_seconds": one,
        "answers": len(took),
        "answers_per_second": len(took) / whole,
        "p50_seconds": statistics.median(took),
        "p95_seconds": sorted(took)[int(len(took) * 0.95)],
    }


def call(client: Any, data: bytes) -> float:
    begun = time.perf_counter()
    client.detect(data)
    return time.perf_counter() - begun
