"""Detectors that Ray's workers make for themselves: quick to start, and with a known speed."""

import time
from dataclasses import dataclass

import numpy as np

from app.image import InputSpec
from app.incremental import Incremental
from app.network import narrow_vgg16, network_of
from app.options import Options
from app.pipeline import Detector, Localization, Model, Progress, silent
from tests.conftest import LABELS, seeded


@dataclass(frozen=True)
class Slowed(Detector):
    """Takes `seconds` more for each photograph."""

    seconds: float = 0.0

    def locate(self, image: np.ndarray, options: Options, progress: Progress = silent) -> Localization:
        time.sleep(self.seconds)
        return super().locate(image, options, progress)


def toy(seconds: float = 0.0, name: str = "toy") -> Detector:
    """The tests' tiny network."""
    network = network_of(seeded(narrow_vgg16((4, 5, 6, 7, 8), 6, batch_norm=False)).float())
    model = Model(name, "vgg16", "0" * 64, LABELS, 56, "float32", "cpu")
    return Slowed(Incremental(network), model, InputSpec(56, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), seconds=seconds)
