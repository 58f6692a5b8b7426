"""What named points take beside the forward pass: `python -m benchmarks.named`.

One thread: descriptors of the photograph, matching, votes, consensus and confidence, with 1, 3, 5
and 10 references of ten landmarks. Beside it the forward pass. Median and best of processor time
and of the clock, in ms: what else runs adds to the clock. Prints JSON; `python -m benchmarks.keep
named -- python -m benchmarks.named` records it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weakpoints.images.decode import decode
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.matching import Reference
from weakpoints.landmarks.named import NamedPoints, Pattern
from weakpoints.loading import PHOTOGRAPH, load_detector
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.manifest import MODEL_WEIGHTS
from weakpoints.options import Limits, choose

LANDMARKS = 10
REFERENCES = (1, 3, 5, 10)
REPEATS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--manifest", type=Path, default=MODEL_WEIGHTS / "manifest.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    describer = Describer(load_detector(asked.manifest, asked.network, "cpu"))
    print(json.dumps({"network": asked.network, **named_seconds(describer)}))


def named_seconds(describer: Describer) -> dict[str, Any]:
    image, options = decode(PHOTOGRAPH.read_bytes(), Limits()), choose()
    height, width, _ = image.shape
    rng = np.random.default_rng(0)
    places = rng.random((LANDMARKS, 2)) * (width, height)
    references = list[Reference]()
    for number in range(max(REFERENCES)):  # no two are the same photograph
        noise = rng.integers(-40, 40, image.shape)
        other = np.clip(image[:, :: (-1) ** number] + noise, 0, 255).astype(np.uint8)
        references.append(describer.reference(other, places, np.ones(LANDMARKS, bool), options))
    prepared = describer.prepare(image, options, Stopwatch())
    figures: dict[str, Any] = {"forward": quartiles_of(partial(describer.look, [prepared]))}
    (evidence,) = describer.look([prepared])
    names, network = tuple(map(str, range(LANDMARKS))), describer.detector.model.sha256
    for count in REFERENCES:
        named = NamedPoints(
            describer, Pattern("object", names, (), tuple(references[:count]), network)
        )
        figures[f"references_{count}"] = quartiles_of(
            partial(named.named, prepared, evidence, options)
        )
    return figures


def quartiles_of(work: Callable[[], object]) -> dict[str, float]:
    work()  # once for what is kept
    clock, processor = [], []
    for _ in range(REPEATS):
        wall, own = time.perf_counter(), time.thread_time()
        work()
        processor.append(1000 * (time.thread_time() - own))
        clock.append(1000 * (time.perf_counter() - wall))
    return {
        "processor_median": statistics.median(processor),
        "processor_best": min(processor),
        "clock_median": statistics.median(clock),
        "clock_best": min(clock),
    }


if __name__ == "__main__":
    main()
