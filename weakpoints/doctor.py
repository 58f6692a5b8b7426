"""What this machine and this service have: the first thing to look at where something is slow."""

import os
from collections import Counter
from dataclasses import asdict
from typing import Any

import torch

from weakpoints import __version__
from weakpoints.engine.paths import Tried
from weakpoints.engine.threads import usable_threads
from weakpoints.method.detector import Detector
from weakpoints.method.occlusion import positions
from weakpoints.networks.device import host_of
from weakpoints.networks.graph.flatten import graph_of_layers
from weakpoints.options import choose
from weakpoints.threads import affinity, quota


def describe(detector: Detector) -> dict[str, Any]:
    """What a network is made of, and what windows save of its default occlusion.

    products: of one whole pass. saved: whole passes' products over those that are computed.
    """
    options, side = detector.resolved(choose()), detector.input.side
    starts = positions(side, options.patch, options.stride)
    corners = tuple((y, x) for y in starts for x in starts)
    products = detector.occluder.products(side, options.patch, corners)
    graph, tensors = graph_of_layers(detector.network.layers)
    kinds = Counter(operation.family for operation in graph.operations)
    windows = next((path for path in detector.model.paths if path.name == "windows"), None)
    return {
        "network": detector.model.name,
        "architecture": detector.model.architecture,
        "side": side,
        "classes": len(detector.model.labels),
        "operations": len(graph.operations),
        "kinds": dict(kinds.most_common()),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "products": products.full // len(corners),
        "patch": options.patch,
        "stride": options.stride,
        "colours": options.colours,
        "weight": options.weight,
        "boxes": len(corners),
        "saved": products.full / max(products.computed, 1),
        "form": detector.occluder.form.name,
        "why": _why(windows),
    }


def _why(windows: Tried | None) -> str:
    if windows is None:
        return "the form of its layers' kind"
    gain = "" if windows.gain is None else f"{windows.gain:.2f} times quicker by it"
    return windows.why or gain


def examine(detector: Detector) -> dict[str, Any]:
    """Network, device, memory, driver, versions, and the paths that the occlusion takes."""
    model = detector.model
    return {
        "weakpoints": __version__,
        "network": model.name,
        "reason": model.reason,
        "precision": model.precision,
        "device": model.device,
        **asdict(host_of(model.device)),
        "cores": os.cpu_count(),
        "usable_cores": affinity(),
        "cpu_quota": quota(),
        "threads": usable_threads(),
        "torch_threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "occlusion": detector.occluder.form.name,
        "paths": [asdict(path) for path in model.paths],
    }
