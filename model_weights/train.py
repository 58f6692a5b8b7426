"""Train the bundled network: VGG-16's topology, narrow, from class labels alone, on a folder with
one sub-folder a class.

    python model_weights/train.py --train DIR/train --val DIR/val --out model_weights

Interrupt it whenever you like: the same command goes on after the last whole epoch. It writes
`bundled.safetensors` (batch-norm folded), `bundled.labels.json` and `bundled.report.json` (top-1,
per class) into `--out`. Needs `pip install -e .`.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import BatchSampler, RandomSampler
from tqdm import tqdm

from weakpoints.networks.modules.small_vgg import SmallVGG, fold_batch_norm, narrow_vgg16

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDTHS = (16, 32, 96, 192, 256)
SIDES = {
    0.0: 80,
    0.4: 96,
    0.7: 112,
}  # input side from this share of the epochs on: small pictures first, they are cheap
STORED = 144  # px; every photograph is squashed to this once, and crops are taken from it
PEAK_RATE, DECAY, EMA_DECAY, SMOOTHING = 0.15, 5e-4, 0.998, 0.1
CUTMIX, CUTMIX_UNTIL = (
    0.4,
    0.85,
)  # chance a batch, and the share of the epochs after which pictures stay whole


@dataclass(frozen=True)
class Photographs:
    """images: (N, 3, H, W) uint8 RGB; labels: (N,) int64; classes: folder names in order."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def load(folder: Path, side: int) -> Photographs:
    """Read a folder of class folders, each photograph squashed to `side` x `side` as the service
    does.
    """
    classes = tuple(sorted(d.name for d in folder.iterdir() if d.is_dir()))
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
    ]
    images = np.empty((len(files), side, side, 3), np.uint8)
    for i, (path, _) in enumerate(tqdm(files, desc=f"read {folder.name}")):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise SystemExit(f"{path} is not a photograph that OpenCV can read")
        images[i] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return Photographs(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        torch.tensor([label for _, label in files]),
        classes,
    )


def uniform(low: float, high: float, n: int, rng: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=rng)


def warp(images: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """Random crop (area 0.35 to 1.1, aspect 3/4 to 4/3), turn (12 degrees) and mirror image, in one
    resampling.
    """
    n = len(images)
    size = uniform(0.35, 1.1, n, rng).sqrt()
    aspect = uniform(-math.log(4 / 3), math.log(4 / 3), n, rng).div(2).exp()
    width, height = size * aspect, size / aspect
    angle = uniform(-math.pi / 15, math.pi / 15, n, rng)
    mirror = uniform(-1, 1, n, rng).sign()
    shift_x, shift_y = (uniform(-1, 1, n, rng) * (1 - extent).abs() for extent in (width, height))
    theta = torch.stack(
        [
            torch.stack([mirror * width * angle.cos(), -height * angle.sin(), shift_x], 1),
            torch.stack([mirror * width * angle.sin(), height * angle.cos(), shift_y], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 3, side, side], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def recolour(images: Tensor, rng: torch.Generator) -> Tensor:
    """Random brightness, contrast and saturation; one picture in six is grey."""
    n = len(images)
    brightness, contrast, saturation = (
        uniform(0.6, 1.4, n, rng).view(n, 1, 1, 1) for _ in range(3)
    )
    saturation = saturation * (uniform(0, 1, n, rng) > 1 / 6).view(n, 1, 1, 1)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * saturation + grey
    middle = images.mean((1, 2, 3), keepdim=True)
    return (((images - middle) * contrast + middle) * brightness).clamp(0, 1)


def occlude(images: Tensor, rng: torch.Generator) -> Tensor:
    """Paste up to three boxes of random colour into half of the pictures, so that the occluder is
    no stranger.
    """
    n, side = len(images), images.shape[-1]
    pixel = torch.arange(side)
    for _ in range(3):
        extent = torch.randint(side // 14, side // 4, (n,), generator=rng) * (
            uniform(0, 1, n, rng) < 0.5
        )
        x, y = (torch.randint(0, side, (n,), generator=rng) for _ in range(2))
        inside = [(pixel >= at[:, None]) & (pixel < (at + extent)[:, None]) for at in (y, x)]
        mask = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
        images = torch.where(mask, torch.rand(n, 3, 1, 1, generator=rng), images)
    return images


def cutmix(images: Tensor, targets: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Swap one box with the next picture of the batch, labels in proportion (Yun et al. 2019)."""
    side = images.shape[-1]
    share = torch.rand(1, generator=rng).item()
    extent = round(side * math.sqrt(share))
    x, y = (int(torch.randint(0, side - extent + 1, (1,), generator=rng)) for _ in range(2))
    images = images.clone()
    images[..., y : y + extent, x : x + extent] = images.roll(1, 0)[
        ..., y : y + extent, x : x + extent
    ]
    share = (extent / side) ** 2
    return images, (1 - share) * targets + share * targets.roll(1, 0)


def normalise(images: Tensor) -> Tensor:
    return (
        (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    ).contiguous(memory_format=torch.channels_last)


def batches(
    data: Photographs, size: int, side: int, mix: bool, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: x (B, 3, side, side) normalised, and label distributions (B, C)."""
    for index in BatchSampler(RandomSampler(data.labels, generator=rng), size, drop_last=True):
        images = occlude(recolour(warp(data.images[index].float() / 255, side, rng), rng), rng)
        targets = F.one_hot(data.labels[index], len(data.classes)).float()
        if mix and torch.rand(1, generator=rng).item() < CUTMIX:
            images, targets = cutmix(images, targets, rng)
        yield normalise(images), targets


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Weight decay on the kernels only."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    return [
        {"params": decayed, "weight_decay": DECAY},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]


@torch.no_grad()
def accuracy(model: nn.Module, data: Photographs) -> tuple[float, dict[str, float]]:
    """Top-1 over all photographs, and a class."""
    model.eval()
    predicted = torch.cat(
        [model(normalise(chunk.float() / 255)).argmax(1) for chunk in data.images.split(64)]
    )
    right = (predicted == data.labels).double()
    each = {
        name: round(right[data.labels == i].mean().item(), 4)
        for i, name in enumerate(data.classes)
        if (data.labels == i).any()
    }
    return right.mean().item(), each


def train(
    model: SmallVGG,
    data: Photographs,
    val: Photographs,
    epochs: int,
    batch: int,
    seed: int,
    checkpoint: Path,
) -> SmallVGG:
    """SGD (Nesterov), one cycle, an exponential average of the weights; bfloat16 products on the
    CPU. Returns the average.
    """
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY), use_buffers=True)
    optimizer = torch.optim.SGD(parameter_groups(model), lr=PEAK_RATE, momentum=0.9, nesterov=True)
    steps = len(data.labels) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=epochs * steps, pct_start=0.15
    )
    rng = torch.Generator().manual_seed(seed)
    parts: dict[str, Any] = {
        "model": model,
        "average": average,
        "optimizer": optimizer,
        "schedule": schedule,
    }
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        rng.set_state(saved["rng"])
        first = saved["epoch"]
        print(f"going on after epoch {first}")
    for epoch in range(first, epochs):
        progress = epoch / epochs
        side = next(side for start, side in reversed(SIDES.items()) if progress >= start)
        model.train()
        total = 0.0
        for x, y in tqdm(
            batches(data, batch, side, progress < CUTMIX_UNTIL, rng),
            total=steps,
            desc=f"epoch {epoch + 1}/{epochs} at {side} px",
        ):
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x).float(), y, label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item()
        state = {name: part.state_dict() for name, part in parts.items()}
        partial = checkpoint.with_suffix(".partial")
        torch.save(state | {"rng": rng.get_state(), "epoch": epoch + 1}, partial)
        partial.replace(checkpoint)
        note = f", val {accuracy(average.module, val)[0]:.4f}" if epoch % 5 == 4 else ""
        print(f"epoch {epoch + 1}: loss {total / steps:.3f}{note}", flush=True)
    averaged = average.module
    assert isinstance(averaged, SmallVGG)
    return averaged


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True, help="one sub-folder a class")
    parser.add_argument(
        "--val", type=Path, required=True, help="the same classes, other photographs"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--side", type=int, default=112, help="input side to report at, and to serve with"
    )
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    data, val = load(args.train, STORED), load(args.val, args.side)
    if data.classes != val.classes:
        raise SystemExit(f"{args.train} and {args.val} must hold the same class folders")
    model = narrow_vgg16(WIDTHS, len(data.classes), batch_norm=True).to(
        memory_format=torch.channels_last
    )
    model = train(
        model, data, val, args.epochs, args.batch, args.seed, args.out / "training.checkpoint"
    )

    folded = fold_batch_norm(model)
    top1, each = accuracy(folded, val)
    save_file(
        {name: tensor.contiguous() for name, tensor in folded.state_dict().items()},
        args.out / "bundled.safetensors",
    )
    (args.out / "bundled.labels.json").write_text(json.dumps(data.classes, indent=0) + "\n")
    report = {
        "top1": round(top1, 4),
        "mean_over_classes": round(sum(each.values()) / len(each), 4),
        "side": args.side,
        "epochs": args.epochs,
        "seed": args.seed,
        "widths": WIDTHS,
        "photographs": {"train": len(data.labels), "val": len(val.labels)},
        "per_class": each,
    }
    (args.out / "bundled.report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"top-1 {top1:.4f} on {len(val.labels)} photographs at {args.side} px; "
        f"mean over classes {report['mean_over_classes']:.4f}"
    )


if __name__ == "__main__":
    main()
