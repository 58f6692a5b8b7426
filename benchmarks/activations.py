"""What guided backpropagation is worth behind each activation, on small networks trained for it.

    python -m benchmarks.activations train NAME... --train PHOTOGRAPHS --val OTHERS --out FOLDER
    python -m benchmarks.activations measure NAME... --val OTHERS --out FOLDER

PHOTOGRAPHS, OTHERS: a folder with a sub-folder of each class; of CLASSES. Needs timm, as
weakpoints[timm] brings it. Figures go to benchmarks/results/activations.json, network by network.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

import weakpoints
from benchmarks.record import RESULTS, record
from weakpoints.evaluation.arrays import Array
from weakpoints.evaluation.baselines import depth, random_points, random_weights
from weakpoints.evaluation.deletion import COUNT, curves
from weakpoints.evaluation.fidelity import patch_sums, single_deletion
from weakpoints.evaluation.matching import summary
from weakpoints.evaluation.photographs import ALL, read, whole
from weakpoints.loading import load_detector
from weakpoints.method.contrast import class_contrast
from weakpoints.method.detector import Detector
from weakpoints.method.guided import guided_maps, log_odds_gradient, walk_back
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.network import Network, Trace
from weakpoints.options import choose

SIDE = 96
CLASSES = (
    *("airplanes", "Motorbikes", "Faces", "Leopards", "watch", "ketch", "car_side", "bonsai"),
    *("butterfly", "grand_piano", "revolver", "sunflower"),
)
MOST = 80  # photographs of a class
EPOCHS, BATCH, RATE = 10, 32, 3e-3
EACH = 2  # photographs of a class that are measured
WITH_KEYPOINTS = ("guided_contrast", "gradient_contrast", "input_contrast")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
TOKENS = {"patch_size": 8, "embed_dim": 128, "depth": 4, "num_heads": 4, "class_token": False,
          "global_pool": "avg", "img_size": SIDE}  # fmt: skip
SMALL = {
    "channels": (24, 48, 96, 192),
    "stem_width": 16,
}  # of a ResNet, whose activation alone differs
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("resnet10t", SMALL),
    "leaky_relu": ("resnet10t", {**SMALL, "act_layer": "leaky_relu"}),
    "silu": ("resnet10t", {**SMALL, "act_layer": "silu"}),
    "gelu": ("resnet10t", {**SMALL, "act_layer": "gelu"}),
    "hard_swish": ("resnet10t", {**SMALL, "act_layer": "hard_swish"}),
    "silu_gates": ("resnet10t", {**SMALL, "act_layer": "silu", "block_args": {"attn_layer": "se"}}),
    "attention": ("vit_tiny_patch16_224", TOKENS),
}


def made(name: str) -> nn.Module:
    import timm

    torch.manual_seed(0)
    architecture, options = NETWORKS[name]
    module: nn.Module = timm.create_model(architecture, num_classes=len(CLASSES), **options)
    return module


def photographs(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, SIDE, SIDE, 3) RGB, squashed, and their classes."""
    pictures, classes = [], []
    for number, name in enumerate(CLASSES):
        for file in sorted((folder / name).iterdir())[:MOST]:
            pictures.append(cv2.resize(read(file), (SIDE, SIDE), interpolation=cv2.INTER_AREA))
            classes.append(number)
    return np.stack(pictures), np.array(classes)


def batches(
    pictures: Tensor, classes: Tensor, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised, mirrored, cropped and with a box of one colour in them."""
    used = len(pictures) // BATCH * BATCH  # a batch of one has no statistics
    for chosen in torch.randperm(len(pictures), generator=rng)[:used].split(BATCH):
        x = normalised(pictures[chosen])
        count = len(x)
        zoom = 1 - torch.rand(count, generator=rng) / 3
        shift = (torch.rand(count, 2, generator=rng) * 2 - 1) * (1 - zoom[:, None])
        mirrored = torch.randint(2, (count,), generator=rng) * 2 - 1
        affine = torch.zeros(count, 2, 3)
        affine[:, 0, 0], affine[:, 1, 1], affine[:, :, 2] = zoom * mirrored, zoom, shift
        grid = F.affine_grid(affine, list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        holes = torch.randint(1, SIDE // 3, (count,), generator=rng)
        corners = torch.randint(SIDE * 2 // 3, (count, 2), generator=rng)
        for picture, hole, (top, left) in zip(x, holes, corners, strict=True):
            colour = torch.randn(3, 1, 1, generator=rng)
            picture[:, top : top + hole, left : left + hole] = colour
        yield x, classes[chosen]


def normalised(pictures: Tensor) -> Tensor:
    """(N, SIDE, SIDE, 3) bytes -> (N, 3, SIDE, SIDE)"""
    x = pictures.permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    return (x - mean) / std


def train(name: str, folders: argparse.Namespace) -> dict[str, Any]:
    """Into the manifest of the folder `out`."""
    start = time.process_time()
    pictures, classes = (torch.from_numpy(each) for each in photographs(folders.train))
    module, rng = made(name), torch.Generator().manual_seed(0)
    steps = EPOCHS * (len(pictures) // BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        module.train()
        for x, wanted in batches(pictures, classes, rng):
            loss = F.cross_entropy(module(x), wanted, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        print(name, epoch, f"{loss.item():.2f}", flush=True)
    module.eval().requires_grad_(False)
    others, expected = (torch.from_numpy(each) for each in photographs(folders.val))
    with torch.inference_mode():
        right = [module(normalised(x)).argmax(1) for x in others.split(BATCH)]
    weakpoints.export(
        module, name=name, labels=CLASSES, side=SIDE, mean=MEAN, std=STD, to=folders.out
    )
    return {
        "architecture": NETWORKS[name][0],
        "photographs": len(pictures),
        "accuracy": float((torch.cat(right) == expected).double().mean()),
        "minutes": (time.process_time() - start) / 60,
    }


def measure(name: str, folders: argparse.Namespace) -> dict[str, Any]:
    """One object a fine map, means over photographs with intervals.

    single_deletion: Spearman of the map's sums over GRID x GRID patches and of what the class loses
    when a patch is covered; fused_deletion: the same of the fused map. deletion, insertion (of some
    maps, and of random points): areas under the class's probability while discs at keypoints are
    blurred, or come back. other_class, top_layers, all_layers: Spearman of the fine map and of
    itself for another class, or with the last quarter or all layers drawn anew: sanity, lower is
    better.
    """
    torch.manual_seed(0)
    detector = load_detector(folders.out / "manifest.json", name, "cpu")
    count = depth(detector.network.layers)
    drawn = {
        "top_layers": random_weights(detector.network, count // 4),
        "all_layers": random_weights(detector.network, count),
    }
    files = [file for each in CLASSES for file in sorted((folders.val / each).iterdir())[:EACH]]
    rows = [_row(detector, drawn, file, i) for i, file in enumerate(files)]
    return {
        "photographs": len(rows),
        "layers": count,
        "maps": {fine: summary([row[fine] for row in rows]) for fine in rows[0]},
    }


def _row(
    detector: Detector, drawn: dict[str, Network], file: Path, seed: int
) -> dict[str, dict[str, float]]:
    image, rng = read(file), np.random.default_rng(seed)
    prepared = detector.prepare(image, choose(fit="squash", **ALL), Stopwatch())
    (seen,) = detector.forward_backward([prepared])
    evidence, trace, (target,) = detector.occlude(prepared, seen), seen.trace, seen.targets
    drops = single_deletion(detector, prepared, seen)
    maps = fine_maps_of(detector.network, trace, target)
    other = int((target + rng.integers(1, len(CLASSES))) % len(CLASSES))
    changed = {
        "other_class": fine_maps_of(detector.network, trace, other),
        **{key: fine_maps_of(each, each.trace(trace.x), target) for key, each in drawn.items()},
    }
    found = {
        fine: detector.explain(prepared, replace(evidence, fine=each[None]))
        for fine, each in maps.items()
    }
    row = {
        fine: {
            "single_deletion": correlation(patch_sums(each), drops),
            "fused_deletion": correlation(patch_sums(np.exp(found[fine].maps.fused)), drops),
            **{key: correlation(each, theirs[fine]) for key, theirs in changed.items()},
        }
        for fine, each in maps.items()
    }
    points = {
        fine: np.array([(p.x, p.y) for p in found[fine].keypoints]).reshape(-1, 2)
        for fine in WITH_KEYPOINTS
    }
    count = min(COUNT, *map(len, points.values()))
    points["random_points"] = random_points(whole(image), count, rng).xy
    row["random_points"] = {}
    for name, xy in points.items():
        deletion, insertion = curves(detector, image, xy[:count], target)
        row[name] |= {"deletion": deletion, "insertion": insertion}
    return row


def fine_maps_of(network: Network, trace: Trace, target: int) -> dict[str, Array]:
    """(S, S) each: today's, and what could take its place.

    guided: of `fine=mirrored`; gradient: plain, averaged with the mirrored picture's likewise;
    input: plain gradient times input, what is positive of it. NAME_contrast: times the contrast of
    the classes; guided_contrast is the default.
    """
    contrast = class_contrast(network, trace, target)
    maps = {
        "guided": guided_maps(network, trace, [target], rule="mirrored")[0],
        "gradient": mean_of_both(network, trace, target, gradient),
        "input": mean_of_both(network, trace, target, times_input),
    }
    return {**maps, **{f"{name}_contrast": each * contrast for name, each in maps.items()}}


def mean_of_both(
    network: Network, trace: Trace, target: int, fine: Callable[[Network, Trace, int], Array]
) -> Array:
    """Of the picture and of the mirrored one, mirrored back."""
    mirrored = fine(network, network.trace(trace.x.flip(-1)), target)
    return np.asarray((fine(network, trace, target) + mirrored[:, ::-1]) / 2)


def gradient(network: Network, trace: Trace, target: int) -> Array:
    return np.asarray(guided_maps(network, trace, [target], rule="gradient")[0])


@torch.inference_mode()
def times_input(network: Network, trace: Trace, target: int) -> Array:
    signal = log_odds_gradient(trace.logits, [target])
    signal = walk_back(network.layers, signal, trace.x, trace.activations, guided=False)
    return np.asarray((signal * trace.x).sum(1)[0].clamp(min=0).double())


def correlation(one: Array, other: Array) -> float:
    """Spearman's; 0 where one of them is constant."""
    one, other = one.ravel(), other.ravel()
    return float(spearmanr(one, other).statistic) if np.ptp(one) and np.ptp(other) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("train", "measure"))
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--train", type=Path)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.names or NETWORKS:
        found = {"train": train, "measure": measure}[args.part](name, args)
        path = RESULTS / "activations.json"
        networks = json.loads(path.read_text())["networks"] if path.exists() else {}
        networks.setdefault(name, {})[args.part] = found
        record("activations", {"networks": networks})
        print(name, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
