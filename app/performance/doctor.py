"""What this machine and this service have: the first thing to look at where something is slow."""

import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from app import __version__
from app.method.detector import Detector
from app.performance.machine import processor

PACKAGES = ("torch", "torchvision", "triton", "numba", "numpy", "opencv-python-headless", "fastapi")
DRIVER = Path("/proc/driver/nvidia/version")


def examine(detector: Detector) -> dict[str, Any]:
    """Network, device, memory, driver, versions, and the paths that the occlusion takes."""
    model = detector.model
    return {
        "weakpoints": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "network": model.name,
        "reason": model.reason,
        "precision": model.precision,
        "device": model.device,
        "device_name": _device_name(model.device),
        "device_memory_bytes": _device_memory(model.device),
        "driver": DRIVER.read_text().splitlines()[0] if DRIVER.exists() else None,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "occlusion": type(detector.occluder.form).__name__.lower(),
        "paths": [asdict(path) for path in model.paths],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device_name(device: str) -> str:
    if device == "cpu":
        return processor()
    return torch.cuda.get_device_name(device)


def _device_memory(device: str) -> int:
    if device == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(torch.cuda.get_device_properties(device).total_memory)
