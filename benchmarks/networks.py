"""Every classifier of torchvision and many of timm, with random weights: checked, and timed.

    python -m benchmarks.networks {checks,seconds} [NAME...] [--minutes N]

A name is torchvision's, or timm:NAME; without names it is all that are not in the results yet.
Each network has a process of its own (`one_network.py`), and is added to
benchmarks/results/networks.json as soon as it is done, so that an interrupted run goes on.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torchvision
from torchvision.models import get_model_weights, list_models

from benchmarks.record import RESULTS
from weakpoints import __version__
from weakpoints.networks.device import processor

PATH = RESULTS / "networks.json"
MOST = 100e6  # parameters
LARGER = (  # one of each family that has larger ones
    *("vgg16", "wide_resnet101_2", "convnext_large", "efficientnet_v2_l", "regnet_x_32gf"),
    "vit_l_16",
)
TIMM = (
    *("resnet50", "efficientnet_b0", "tf_efficientnetv2_s", "efficientnet_lite0", "convnext_tiny"),
    *("mobilenetv4_conv_small", "mobilenetv3_large_100", "regnety_016", "densenet121", "nfnet_f0"),
    *(
        "repvgg_a0",
        "hgnetv2_b0",
        "inception_resnet_v2",
        "fastvit_t8",
        "dm_nfnet_f0",
        "eva02_tiny_patch14_224",
    ),
    *("eva02_tiny_patch14_224", "vit_small_patch16_224", "vit_small_patch14_dinov2"),
    *(
        "swin_tiny_patch4_window7_224",
        "maxvit_tiny_tf_224",
        "ghostnet_100",
        "xception41",
        "resnest14d",
        "mobileone_s0",
        "dla34",
    ),
    *("edgenext_xx_small", "poolformer_s12", "mixer_b16_224", "convmixer_768_32", "rexnet_100"),
    *(
        "cait_xxs24_224",
        "hrnet_w18_small",
        "res2net50_26w_4s",
        "skresnet18",
        "coatnet_nano_rw_224",
        "tinynet_a",
    ),
)
TIMED = (  # first; one of each family
    *("mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x1_0", "mnasnet1_0", "mobilenet_v3_large"),
    *("efficientnet_b0", "resnet18", "resnet50", "resnext50_32x4d", "densenet121", "googlenet"),
    *("regnet_x_800mf", "regnet_y_800mf", "inception_v3", "efficientnet_v2_s", "convnext_tiny"),
    *("alexnet", "vgg16", "swin_t", "vit_b_16", "maxvit_t", "wide_resnet50_2"),
)
TIMEOUT = 1500  # seconds of one network, on a busy machine


def names() -> list[str]:
    """One of each family first."""
    sizes = {name: _parameters(name) for name in list_models(module=torchvision.models)}
    chosen = [name for name in sizes if sizes[name] <= MOST or name in LARGER]
    timm = [f"timm:{name}" for name in TIMM]
    rest = sorted(set(chosen) - set(TIMED), key=lambda name: sizes[name])
    return [*TIMED, *timm, *rest]


def _parameters(name: str) -> int:
    default: Any = get_model_weights(name)["DEFAULT"]
    return int(default.meta["num_params"])


def measured(part: str, name: str) -> dict[str, Any]:
    """What one_network.py says, or why it says nothing."""
    command = [sys.executable, "-m", "benchmarks.one_network", part, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return {"failed": f"it took more than {TIMEOUT} seconds"}
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
    return {"failed": lines[-1][:300]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("checks", "seconds"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    for name in args.names or names():
        if not args.names and args.part in _read(PATH)["networks"].get(name, {}):
            continue
        if time.monotonic() > end:
            raise SystemExit(75)  # there are more
        load = os.getloadavg()[0]
        found = measured(args.part, name)
        found |= {"load_average_before": round(load, 1), "commit": _commit()}
        kept = _read(PATH)  # anew: another run may have added to it
        kept["networks"].setdefault(name, {})[args.part] = found
        _write(PATH, kept)
        print(name, json.dumps(found)[:300], file=sys.stderr, flush=True)


def _commit() -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"networks": {}}
    return found


def _write(path: Path, figures: dict[str, Any]) -> None:
    head: dict[str, Any] = {
        "commit": _commit(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    packages = ("torch", "torchvision", "timm", "openvino", "onnxruntime")
    versions = {"weakpoints": __version__, **{name: version(name) for name in packages}}
    head |= {"python": platform.python_version(), "versions": versions}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**head, "networks": figures["networks"]}, indent=1) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
