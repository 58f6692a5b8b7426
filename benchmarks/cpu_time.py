"""CPU seconds of a whole detection on one thread, by box, step and colours.

    python -m benchmarks.cpu_time --network NAME [--manifest FILE]

Time of the processor and not of the clock, so that other programs on the machine hardly change it.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from skimage import data

from weakpoints.loading import load_detector
from weakpoints.method.occlusion import box_count
from weakpoints.options import choose

OCCLUSIONS = (  # box and step at 224 pixels, and colours
    (224, 224, 1),
    (64, 64, 1),
    (64, 32, 1),
    (32, 32, 1),
    (64, 32, 2),
    (32, 16, 1),
    (32, 16, 2),  # the default of EfficientNet-Lite0 and VGG-16 before
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    parser.add_argument("--manifest", type=Path, default=Path("model_weights/manifest.json"))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    detector = load_detector(args.manifest, args.network, "cpu")
    detector.occluder.compile()  # as a service has it
    image = data.astronaut()[:300, 60:420].copy()
    detector.locate(image, choose())  # a warm-up
    rows = []
    for patch, stride, colours in OCCLUSIONS:
        options, seconds = choose(patch=patch, stride=stride, colours=colours), []
        for _ in range(args.repeats):
            start = time.process_time()
            localization = detector.locate(image, options)
            seconds.append(time.process_time() - start)
        passes = box_count(detector.input.side, localization.options) * colours
        rows.append(
            {
                "patch": patch,
                "step": stride,
                "colours": colours,
                "passes": passes,
                "cpu_s": min(seconds),
            }
        )
    print(json.dumps({"network": args.network, "threads": 1, "occlusions": rows}, indent=1))


if __name__ == "__main__":
    main()
