"""Detectors that Ray's workers make for themselves: quick to start, and with a known speed."""

import numpy as np

from app.evaluation.load import Sleeping
from app.image import InputSpec
from app.incremental import Incremental
from app.network import narrow_vgg16, network_of
from app.options import choose
from app.pipeline import Detector, Model
from tests.conftest import LABELS, seeded


def toy(seconds: float = 0.0) -> Detector:
    """The tests' tiny network behind a device that sleeps so long for a photograph."""
    network = network_of(seeded(narrow_vgg16((4, 5, 6, 7, 8), 6, batch_norm=False)).float())
    model = Model("toy", "vgg16", "0" * 64, LABELS, 56, "float32", "cpu")
    real = Detector(Incremental(network), model, InputSpec(56, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    if not seconds:
        return real
    answer = real.locate(np.zeros((64, 64, 3), np.uint8), choose(patch=56, stride=1, colours=1))
    return Sleeping(real.occluder, real.model, real.input, seconds=seconds, answer=answer)
