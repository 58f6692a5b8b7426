"""Measure what README quotes: `python benchmarks/record.py --images DIR` (one sub-folder a class) -> benchmarks/results/*.json."""

import argparse
import json
import os
import statistics
import subprocess
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import torch
from skimage import data

from app import __version__
from app.evaluation.accuracy import accuracy
from app.options import PRESETS
from app.pipeline import Detector, load_detector
from app.settings import Settings

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    detector = load_detector(Settings().manifest, "bundled", "cpu")
    record("detection", detection(detector, args.repeats))
    found = asdict(accuracy(detector, args.images, list))
    sizes = [len(list(folder.iterdir())) for folder in args.images.iterdir()]
    record("accuracy", found | {"baseline_largest_class": max(sizes) / sum(sizes), "baseline_chance": 1 / len(sizes)})


def detection(detector: Detector, repeats: int) -> dict[str, object]:
    """Seconds of one whole detection in each preset, and of the 729 full passes that one colour would cost, in turn, after a warm-up."""
    image = data.astronaut()[:300, 60:420].copy()
    batch = torch.randn(81, 3, detector.model.side, detector.model.side).to(memory_format=torch.channels_last)

    def full_passes() -> None:
        for _ in range(729 // len(batch)):
            detector.network.logits(batch)

    runs = {name: partial(detector.locate, image, options) for name, options in PRESETS.items()} | {"full_passes_729": full_passes}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: {"median_s": statistics.median(each), "all_s": each} for name, each in seconds.items()}


def record(name: str, figures: dict[str, object]) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    machine = {"device": "cpu", "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    versions = {"weakpoints": __version__, "torch": torch.__version__, "opencv": cv2.__version__}
    (RESULTS / f"{name}.json").write_text(json.dumps({"commit": commit, **machine, "versions": versions, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
