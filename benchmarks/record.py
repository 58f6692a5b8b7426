"""Measure what README quotes: `python benchmarks/record.py --images DIR` (one sub-folder a class)
-> benchmarks/results/*.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import matplotlib.pyplot as plt
import torch
from torchvision.models import get_model

from app.settings import Settings
from benchmarks.machine import memory, reset_device_peak
from benchmarks.modules import network_of
from benchmarks.speed import SpeedSetting, products
from weakpoints import __version__
from weakpoints.engine.engine import BUDGET, Incremental
from weakpoints.evaluation.accuracy import accuracy
from weakpoints.loading import load_detector
from weakpoints.method.occlusion import positions
from weakpoints.networks.device import processor

RESULTS = Path(__file__).parent / "results"
ASK_FOR_IMAGES = ["accuracy", "scale", "gpu"]
WHAT = ["occlusion", "cost", "service", "fuzz", *ASK_FOR_IMAGES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=WHAT, action="append")
    args = parser.parse_args()
    only = args.only or WHAT
    if "occlusion" in only:
        record("occlusion", occlusion_record())
    if "cost" in only:
        figures = cost()
        record("cost", figures)
        plot(figures)
    if "service" in only:
        command = [
            sys.executable,
            "-m",
            "weakpoints",
            "benchmark",
            "service",
            "--requests",
            "2000",
            "--json",
        ]
        record("service", json.loads(subprocess.check_output(command)))
    if "fuzz" in only:
        record("fuzz", json.loads(subprocess.check_output([sys.executable, "-m", "tests.fuzz"])))
    if args.images is None and set(ASK_FOR_IMAGES) & set(only):
        parser.error(f"{', '.join(ASK_FOR_IMAGES)} need --images")
    if "gpu" in only and torch.cuda.is_available():
        record("gpu", gpu(args.images))
    if "scale" in only:
        asked = ["--images", str(args.images), "--count", "100", "--limit", "24", "--json"]
        record(
            "scale",
            json.loads(
                subprocess.check_output(
                    [sys.executable, "-m", "weakpoints", "benchmark", "scale", *asked]
                )
            ),
        )
    if "accuracy" not in only:
        return
    detector = load_detector(Settings().manifest, "bundled", "cpu")
    figures = asdict(accuracy(detector, args.images, list))
    sizes = [len(list(folder.iterdir())) for folder in args.images.iterdir()]
    record(
        "accuracy",
        figures
        | {"baseline_largest_class": max(sizes) / sum(sizes), "baseline_chance": 1 / len(sizes)},
    )


def occlusion_record() -> dict[str, object]:
    """What `weakpoints benchmark occlusion` prints, each network in a process of its own."""
    asked = {"vgg16": ("729", "1"), "bundled": ("729", "5")}
    command = [sys.executable, "-m", "weakpoints", "benchmark", "occlusion", "--json"]
    return {
        name: json.loads(
            subprocess.check_output(
                [*command, "--network", name, "--positions", limit, "--rounds", rounds]
            )
        )
        for name, (limit, rounds) in asked.items()
    }


def gpu(images: Path) -> dict[str, object]:
    """VGG-16's occlusion in each precision against the same precision's rivals, and what half
    precision changes on the bundled network.
    """
    command = [sys.executable, "-m", "weakpoints", "benchmark"]
    occlude = [
        *command,
        "occlusion",
        "--json",
        "--device",
        "cuda",
        "--network",
        "vgg16",
        "--rounds",
        "5",
    ]
    speed = {
        name: json.loads(subprocess.check_output([*occlude, "--precision", name]))
        for name in ("float32", "tf32", "float16")
    }
    truth = [*command, "precision", "--json", "--images", str(images), "--precision", "float16"]
    return {
        "gpu": torch.cuda.get_device_name(),
        "vgg16": speed,
        "float16": json.loads(subprocess.check_output(truth)),
    }


def cost() -> dict[str, object]:
    """Seconds, products and memory of ours against work, at random weights: each a warm-up and the
    median of two.

    Each in a process of its own, so that none has the memory that the one before was given.
    """
    by_step = [(f"stride {step}", "vgg16", 16, step, 1) for step in (32, 16, 8, 4)]
    by_box = [(f"patch {box}", "vgg16", box, 16, 1) for box in (8, 16, 32, 64)]
    by_depth = [
        (name, name, 16, 16, 1)
        for name in ("vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet50")
    ]
    by_images = [(f"{images} images", "vgg16", 16, 16, images) for images in (1, 2, 4)]
    curves = {"stride": by_step, "patch": by_box, "depth": by_depth, "images": by_images}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
        return {
            "budget_bytes": BUDGET["cpu"],
            **{
                name: list(alone.map(_cost, *zip(*points, strict=True)))
                for name, points in curves.items()
            },
        }


def _cost(label: str, architecture: str, box: int, step: int, images: int) -> dict[str, object]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = network_of(
            get_model(architecture, weights=None).to(memory_format=torch.channels_last), 224
        )
    engine, starts = (
        Incremental(network),
        positions(224, box, step) if step <= box else range(0, 224 - box + 1, step),
    )
    corners = tuple((y, x) for y in starts for x in starts)
    traces = [network.trace(torch.randn(1, 3, 224, 224)) for _ in range(images)]
    colours, seconds = torch.zeros(len(corners), 3), []
    for _ in range(3):
        reset_device_peak("cpu")
        before, start = memory("cpu", "VmRSS"), time.perf_counter()
        for trace in traces:
            engine.logits(trace, corners, box, colours)
        seconds.append(time.perf_counter() - start)
    peak = memory("cpu", "VmHWM")
    return {
        "label": label,
        "box": box,
        "step": step,
        "positions": len(corners),
        "images": images,
        "seconds": statistics.median(seconds[1:]),
        "spread": max(seconds[1:]) - min(seconds[1:]),
        "products": products(network, SpeedSetting(224, box, step)) if step <= box else None,
        "peak_memory_bytes": None if before is None or peak is None else peak - before,
    }


def plot(figures: dict[str, Any]) -> None:
    _, axes = plt.subplots(1, 4, figsize=(13, 3), constrained_layout=True)
    for axis, name in zip(axes, ("stride", "patch", "depth", "images"), strict=True):
        points = figures[name]
        axis.bar(
            [point["label"].removeprefix(f"{name} ").removesuffix(" images") for point in points],
            [point["seconds"] for point in points],
        )
        axis.set(
            title={"depth": "network, stride 16", "stride": "stride, patch 16"}.get(
                name, f"{name}, stride 16"
            ),
            ylabel="seconds",
        )
        axis.tick_params(axis="x", rotation=40 if name == "depth" else 0)
    plt.savefig(RESULTS.parents[1] / "docs" / "cost.png", dpi=90)


def record(name: str, figures: dict[str, object]) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    machine = {
        "device": "cpu",
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    versions = {"weakpoints": __version__, "torch": torch.__version__, "opencv": cv2.__version__}
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"commit": commit, **machine, "versions": versions, **figures}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
