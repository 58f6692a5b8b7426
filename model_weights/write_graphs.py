"""Write the graphs of the architectures that a manifest's entry may name, from modules of PyTorch.

    python model_weights/write_graphs.py [NAME...]

Weights are random, and are not written: a graph names its parameters as the module does, so that
torchvision's own files of weights fit.
"""

import sys
from pathlib import Path

from torch import nn
from torchvision.models import get_model

from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.files import to_json
from weakpoints.networks.load import GRAPHS, SUFFIX
from weakpoints.networks.modules.efficientnet_lite import EfficientNetLite
from weakpoints.networks.modules.small_vgg import narrow_vgg16

SIDE = 224
NAMES = (
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *("mobilenet_v2", "efficientnet_lite0", "narrow_vgg16", "narrow_vgg16_bn"),
)


def module(name: str, classes: int = 1000, side: int = SIDE) -> nn.Module:
    """With random weights."""
    if name == "efficientnet_lite0":
        return EfficientNetLite(side, classes)
    if name.startswith("narrow_"):
        widths = (16, 32, 96, 192, 256)
        return narrow_vgg16(widths, classes, batch_norm=name.endswith("_bn"))
    made: nn.Module = get_model(name, weights=None, num_classes=classes)
    return made


def write(name: str, folder: Path = GRAPHS) -> Path:
    graph, _ = graph_of(module(name), SIDE)
    file = folder / f"{name}{SUFFIX}"
    file.write_text(to_json(graph))
    return file


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        print(write(name))
