"""The same landmarks by each network at hand (paper, section IV: VGG against ResNet)."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from weakpoints.evaluation.landmarks import landmarks
from weakpoints.evaluation.photographs import Landmarked, read
from weakpoints.evaluation.records import RecordedRows
from weakpoints.method.detector import Detector
from weakpoints.options import Options

FIGURES = ("points_per_image", "f1", "corrected_recall", "average_precision")


def networks(
    detectors: Iterable[Detector],
    photographs: Sequence[Landmarked],
    options: Options,
    rows: Callable[[Detector], RecordedRows],
) -> dict[str, Any]:
    """One object a network: its keypoints' figures, and how long the first photograph took.

    seconds: of that photograph. Beside the figures is F1 of the same network with random weights.
    """
    result: dict[str, Any] = {"photographs": len(photographs)}
    for detector in detectors:
        found = landmarks(detector, photographs, options, rows(detector))
        image, start = read(photographs[0].path), time.perf_counter()
        detector.locate(image, options)
        seconds = time.perf_counter() - start
        ours = found["ours"]
        result[detector.model.name] = {
            "architecture": detector.model.architecture,
            **{name: ours[name] for name in FIGURES},
            "whole_f1": found["whole"]["ours"]["f1"],
            "random_weights_f1": found["random_weights"]["f1"],
            "seconds": seconds,
            "interval": {name: ours["interval"][name] for name in FIGURES[1:]},
        }
    return result
