"""Small networks from the product's own classes, seeded; nothing is fetched."""

import json
import os
from pathlib import Path
from typing import TypeVar

# Before torch is there: its threads wait for each other in a loop, and where another process has
# one of the cores that takes most of the time. What tests start inherits it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: each has one
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn
from torchvision.models import mobilenetv2, resnet, vgg

from tests.service import encoded
from tests.tables import network_of
from tests.toys import LABELS, seeded
from weakpoints.engine.engine import Incremental
from weakpoints.method.detector import Detector
from weakpoints.method.frame import InputSpec
from weakpoints.method.localization import Model
from weakpoints.networks.modules.efficientnet_lite import EfficientNetLite, Stage
from weakpoints.networks.modules.small_vgg import narrow_vgg16, small_vgg
from weakpoints.networks.network import Network

os.environ.setdefault("WEAKPOINTS_NETWORK", "bundled")  # small: what tests start is quick
# No test depends on the machine's speed or on luck: the gate draws the same examples everywhere.
# `--hypothesis-profile=search` draws others each time.
settings.register_profile("weakpoints", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("weakpoints")
Loud = TypeVar("Loud", bound=nn.Module)


def toy_vgg(batch_norm: bool = False, seed: int = 0) -> vgg.VGG:
    """Three blocks, two classifier ReLUs and an adaptive pool that really pools: everything a VGG
    has, small.
    """
    head = nn.Sequential(
        nn.Linear(63, 31),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(31, 23),
        nn.ReLU(True),
        nn.Linear(23, 6),
    )
    model = small_vgg([4, 5, "M", 6, "M", 7, "M"], 3, head, batch_norm=batch_norm)
    seeded(model, seed)
    return model


def toy_resnet(seed: int = 0) -> resnet.ResNet:
    model = resnet.ResNet(resnet.Bottleneck, [2, 1, 1, 1], num_classes=5, width_per_group=4)
    seeded(model, seed)
    return model


def toy_mobilenet(seed: int = 0) -> mobilenetv2.MobileNetV2:
    """With and without a shortcut, and at stride 2; loud enough that ReLU6 meets its ceiling."""
    inverted = [[1, 4, 1, 1], [3, 6, 2, 2], [2, 8, 2, 2]]
    model = mobilenetv2.MobileNetV2(6, 0.25, inverted, round_nearest=2)
    return loud(seeded(model, seed))


def toy_efficientnet_lite(side: int = 32, seed: int = 0) -> EfficientNetLite:
    """The same with kernels of 3 and 5, padded on one side at stride 2."""
    stages = (Stage(1, 3, 1, 1, 4), Stage(2, 5, 2, 2, 6), Stage(2, 3, 2, 3, 5))
    model = EfficientNetLite(side, 6, stages, stem=4, head=16)
    seeded(model, seed)
    return loud(model)


def loud(module: Loud) -> Loud:
    """What batch-norm puts out is half as large again: ReLU6 meets its ceiling."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data *= 1.5
    return module


MODULES = {
    "vgg": toy_vgg,
    "vgg_bn": lambda: toy_vgg(batch_norm=True),
    "narrow": lambda: seeded(narrow_vgg16((3, 4, 5, 6, 7), 6, batch_norm=False)),
    "resnet": toy_resnet,
    "mobilenet": toy_mobilenet,
    "efficientnet_lite": toy_efficientnet_lite,
}


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> nn.Module:
    return MODULES[request.param]()


@pytest.fixture
def network() -> Network:
    return network_of(toy_vgg())


@pytest.fixture
def x() -> torch.Tensor:
    """(1, 3, 32, 32) float64"""
    return torch.randn(
        1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(7)
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture(scope="session")
def detector() -> Detector:
    """The whole pipeline on a tiny network with random weights, 56 px."""
    network = network_of(seeded(narrow_vgg16((4, 5, 6, 7, 8), 6, batch_norm=False)).float())
    model = Model("toy", "vgg16", "0" * 64, LABELS, 56, "float32", "cpu")
    return Detector(Incremental(network), model, InputSpec(56, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """(120, 160, 3) RGB: a bright, cornered shape on a soft background."""
    ys, xs = np.mgrid[:120, :160]
    image = np.stack([xs, ys, 200 - xs], 2).astype(np.uint8)
    image[30:80, 50:110] = (230, 60, 40)
    image[50:100, 90:130] = (250, 250, 90)
    return image


@pytest.fixture
def annotated(tmp_path: Path, photograph: np.ndarray) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(photograph))
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {
                "image_id": i,
                "category_id": 7,
                "bbox": [40, 20, 100, 90],
                "keypoints": [50.5, 30.5, 2, 0, 0, 0, 110.5, 80.5, 1],
            }
            for i in (1, 2)
        ],
        "categories": [{"id": 7, "name": "cat", "keypoints": ["left_ear", "tail", "right_ear"]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    return tmp_path
