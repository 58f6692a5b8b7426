"""Detectors that other processes make for themselves: quick to start, and with a known speed."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from app.settings import Settings
from benchmarks.load import Sleeping
from tests.service import faulty, until
from tests.tables import network_of
from weakpoints.engine.engine import Incremental
from weakpoints.errors import DeviceLost
from weakpoints.method.detector import Detector
from weakpoints.method.frame import InputSpec
from weakpoints.method.localization import Keypoint, Localization, Model
from weakpoints.method.stages import Evidence, NetworkPass, Prepared
from weakpoints.networks.modules.small_vgg import narrow_vgg16
from weakpoints.options import choose
from weakpoints.progress import Progress, no_progress

LABELS = ("ant", "bee", "cat", "dog", "eel", "fox")


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and random batch-norm statistics, in float64, scaled so that signals neither
    die nor explode.
    """
    rng = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan = layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=(2 / fan) ** 0.5, generator=rng)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1, generator=rng)
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low, high in (
                (layer.running_mean, -0.2, 0.2),
                (layer.running_var, 0.5, 2),
                (layer.weight.data, 0.5, 1.5),
                (layer.bias.data, -0.2, 0.2),
            ):
                tensor.uniform_(low, high, generator=rng)
    return module.double().eval()


@dataclass(frozen=True)
class Slowed(Detector):
    """Takes `seconds` more for each photograph."""

    seconds: float = 0.0

    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        time.sleep(self.seconds)
        return super().occlude(prepared, seen, progress)


@dataclass(frozen=True)
class Lost(Detector):
    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        raise DeviceLost("the device is gone", retry_after=5)


@dataclass(frozen=True)
class Quick(Sleeping):
    """Takes `seconds` for a photograph and says of it what is cheap to know: each has an answer of
    its own.
    """

    prepare = Detector.prepare  # the real one, as a worker spends its time

    def explain(
        self, prepared: Prepared, evidence: Evidence, progress: Progress = no_progress
    ) -> Localization:
        assert prepared.scene is not None
        grey, found = prepared.scene.close_up.grey, super().explain(prepared, evidence, progress)
        place = {"x": float(grey.mean()), "y": float(grey.std())}
        return with_points(found, lambda points: tuple(replace(each, **place) for each in points))


def with_points(
    found: Localization, change: Callable[[tuple[Keypoint, ...]], tuple[Keypoint, ...]]
) -> Localization:
    """The same answer with other keypoints."""
    return replace(
        found,
        explained=tuple(
            replace(each, keypoints=change(each.keypoints)) for each in found.explained
        ),
    )


def quick(seconds: float, marks: Path | None = None, workers: int = 1) -> Detector:
    """Leaves a mark of the node on which it was made, and waits for the first marks of so many."""
    made = toy()
    if marks:
        import ray  # which need not be installed for the others

        (marks / f"{ray.get_runtime_context().get_node_id()}-{uuid.uuid4().hex}").touch()
        until(lambda: len(list(marks.iterdir())) >= workers, 500)  # until others give cores back
    answer = made.locate(np.zeros((64, 64, 3), np.uint8), choose(patch=14, stride=14))
    return Quick(made.occluder, made.model, made.input, seconds=seconds, answer=answer)


def toy(seconds: float = 0.0, name: str = "toy") -> Detector:
    """The tests' tiny network."""
    network = network_of(seeded(narrow_vgg16((4, 5, 6, 7, 8), 6, batch_norm=False)).float())
    model = Model(name, "vgg16", "0" * 64, LABELS, 56, "float32", "cpu")
    return Slowed(
        Incremental(network),
        model,
        InputSpec(56, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        seconds=seconds,
    )


def faulty_toy() -> Detector:
    return faulty(toy())


def lost_toy(settings: Settings) -> Detector:
    """In the place of `loaded`: its device is gone when it is asked."""
    made = toy()
    return Lost(made.occluder, made.model, made.input)


def toy_of(settings: Settings) -> Detector:
    """In the place of `loaded`."""
    return toy()
