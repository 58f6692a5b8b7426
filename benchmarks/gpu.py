"""What a GPU does: `python -m benchmarks.gpu STEP`, called by `benchmarks/gpu.sh`.

Each step writes what it found at once into one file, under its own name.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks import gpu_steps
from benchmarks.gpu_steps import DEVICE, Figures
from benchmarks.machine import seconds
from benchmarks.record import RESULTS
from weakpoints import __version__
from weakpoints.networks.device import host_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=GPU_STEPS)
    step = parser.parse_args().step
    if DEVICE == "cpu":
        print(f"{step}: no CUDA device here; tried on the CPU, its figures are not kept")
    begun = time.perf_counter()
    try:
        for name, figures in GPU_STEPS[step]():
            taken = round(time.perf_counter() - begun, 1)
            if name.startswith(f"{step}-"):  # a section of its own
                keep(name, figures)
            else:
                keep(step, {name: figures, "step_seconds": taken})
            print(f"{step} {taken} s: {name} {brief(figures)}", flush=True)
    except Exception as error:  # the next step may still tell something
        keep(step, {"failed": f"{type(error).__name__}: {error}"[:2000]})
        raise


def brief(figures: object) -> str:
    return json.dumps(figures)[:400]


def keep(step: str, figures: Figures) -> None:
    """Into the results on a GPU, else beside them where nobody takes them for figures."""
    folders = [Path(os.environ.get("OUT", "."))] + ([RESULTS] if DEVICE == "cuda" else [])
    for folder in folders:
        path = folder / ("gpu.json" if DEVICE == "cuda" else "gpu_tried_on_cpu.json")
        kept = json.loads(path.read_text()) if path.exists() else {}
        whole = path.with_suffix(".new")
        merged = head() | kept | {step: kept.get(step, {}) | figures}
        whole.write_text(json.dumps(merged, indent=1) + "\n")
        whole.replace(path)


def head() -> Figures:
    commit = Path("COMMIT")
    host = host_of(DEVICE)
    return {
        "commit": commit.read_text().strip() if commit.exists() else None,
        "device": host.device_name,
        "memory_bytes": host.device_memory_bytes,
        "driver": host.driver,
        "cores": os.cpu_count(),
        "cuda": torch.version.cuda,
        "versions": {"weakpoints": __version__, "python": platform.python_version()}
        | dict(host.packages),
    }


def machine() -> gpu_steps.StepFigures:
    """What this GPU moves and multiplies at most: what all other figures are read against."""
    size, numbers = (8192, 2**30) if DEVICE == "cuda" else (256, 2**20)
    one = torch.empty(numbers, dtype=torch.float32, device=DEVICE).normal_()
    other = torch.empty_like(one)
    copied = min(seconds(lambda: other.copy_(one), DEVICE) for _ in range(10))
    rates = {}
    for name, dtype, rounds in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("float16", torch.float16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = rounds
        a = torch.randn(size, size, device=DEVICE).to(dtype)
        rates[name] = size**3 / min(seconds(partial(torch.matmul, a, a), DEVICE) for _ in range(10))
    yield "copied_bytes_per_second", 2 * one.nbytes / copied
    yield "products_per_second", rates


GPU_STEPS: dict[str, Callable[[], gpu_steps.StepFigures]] = {
    "machine": machine,
    "tests": partial(gpu_steps.tests, "-m", "gpu", "tests/method", "tests/engine"),
    "folders": partial(gpu_steps.tests, "tests/method", "tests/engine", "tests/networks"),
    "vgg16": partial(gpu_steps.network, "vgg16"),
    "efficientnet_lite0": partial(gpu_steps.network, "efficientnet_lite0"),
    "bundled": partial(gpu_steps.network, "bundled"),
    "service": gpu_steps.service_seconds,
}

if __name__ == "__main__":
    main()
