"""What this machine and this service have: the first thing to look at where something is slow."""

import os
from dataclasses import asdict
from typing import Any

import torch

from weakpoints import __version__
from weakpoints.engine.threads import usable_threads
from weakpoints.method.detector import Detector
from weakpoints.networks.device import host_of
from weakpoints.threads import affinity, quota


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
