"""Networks of the manifest as modules of PyTorch: what the engine is measured against."""

import torch
from torch import nn
from torchvision.models import get_model

from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.manifest import Entry
from weakpoints.networks.modules.efficientnet_lite import EfficientNetLite
from weakpoints.networks.modules.small_vgg import narrow_vgg16
from weakpoints.networks.network import Network
from weakpoints.networks.weights import load_state


def skeleton(entry: Entry) -> nn.Module:
    """The entry's architecture, with random weights."""
    classes = len(entry.labels)
    if entry.widths is not None:
        return narrow_vgg16(entry.widths, classes, batch_norm=entry.architecture.endswith("_bn"))
    if entry.architecture == "efficientnet_lite0":
        return EfficientNetLite(entry.side, classes)
    module: nn.Module = get_model(entry.architecture, weights=None, num_classes=classes)
    return module


def load_module(entry: Entry) -> nn.Module:
    """The entry's module with its verified weights."""
    with torch.device("meta"):
        module = skeleton(entry)
    state = load_state(entry)
    counters = {key: torch.tensor(0) for key in module.state_dict() if key.endswith("_tracked")}
    module.load_state_dict(counters | state, strict=True, assign=True)
    return module.float().eval().requires_grad_(False)


def network_of(module: nn.Module, side: int) -> Network:
    """As it is read from the module's graph."""
    return network_of_graph(*graph_of(module, side), side)
