"""Where a network runs: the device that was asked for, and what there is to say about it.

If it can't be had, one sentence says why.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from weakpoints.errors import WeightsError

PACKAGES = ("torch", "torchvision", "triton", "numba", "numpy", "opencv-python-headless", "fastapi")
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Host:
    """driver: NVIDIA's, None where there is none. packages: versions, None where not installed."""

    device_name: str
    device_memory_bytes: int
    driver: str | None
    python: str
    packages: Mapping[str, str | None]


def host_of(device: str) -> Host:
    """What `cpu`, `cuda` or `cuda:N` is here."""
    return Host(
        processor() if device == "cpu" else torch.cuda.get_device_name(device),
        _memory(device),
        DRIVER.read_text().splitlines()[0] if DRIVER.exists() else None,
        platform.python_version(),
        {name: _version(name) for name in PACKAGES},
    )


def chosen_device(asked: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` as `cpu`, `cuda` or `cuda:N`.

    `auto` is a GPU where one can be used, else the CPU.
    Raises WeightsError where a GPU is asked for by name and there is none, or too old a driver.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cpu":
        return asked
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"WEAKPOINTS_DEVICE is {asked}, but no GPU can be used: {reason}"
        ) from error
    number = int(asked.partition(":")[2] or 0)
    if number >= count:
        raise WeightsError(
            f"WEAKPOINTS_DEVICE is {asked}, but there are {count} GPUs, counted from 0",
            limit=count - 1,
            actual=number,
        )
    return asked


def processor() -> str:
    """Its name, as Linux says it; elsewhere the architecture's."""
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory(device: str) -> int:
    if device == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(torch.cuda.get_device_properties(device).total_memory)
