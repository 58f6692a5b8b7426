"""The largest value of each layer of the real VGG-16, against what float16 holds.

    python -m benchmarks.value_range --convolutions vgg16_conv.safetensors --images DIR

convolutions: torchvision's names (`features.0.weight`...). Each photograph is looked at as it is
and with a box of a random colour over it. Writes benchmarks/results/value_range.json.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from torchvision.models import VGG16_Weights, vgg16
from tqdm import tqdm

from benchmarks.record import record
from weakpoints.evaluation.photographs import read, sample
from weakpoints.method.frame import InputSpec, network_input

SIDE, BOX = 224, 96
FLOAT16 = torch.finfo(torch.float16).max


@torch.inference_mode()
def largest_values(convolutions: Path, paths: Sequence[Path]) -> dict[str, float]:
    """The largest value behind each convolution's ReLU, by torchvision's names."""
    model = vgg16(weights=None)
    state = {key: value.float() for key, value in load_file(convolutions).items()}
    model.load_state_dict(model.state_dict() | state)
    normalise = VGG16_Weights.IMAGENET1K_V1.transforms()
    spec = InputSpec(SIDE, tuple(normalise.mean), tuple(normalise.std))
    generator = torch.Generator().manual_seed(0)
    largest: dict[str, float] = {}
    for path in tqdm(paths):
        clean = torch.from_numpy(network_input(read(path), spec, "squash", None)[0])
        boxed = clean.clone()
        top, left = torch.randint(SIDE - BOX, (2,), generator=generator).tolist()
        colour = (torch.rand(3, generator=generator) - torch.tensor(spec.mean)) / torch.tensor(
            spec.std
        )
        boxed[:, :, top : top + BOX, left : left + BOX] = colour[:, None, None]
        x = torch.cat([clean, boxed])
        for name, layer in model.features.named_children():
            x = F.relu(layer(x)) if isinstance(layer, torch.nn.Conv2d) else layer(x)
            if isinstance(layer, torch.nn.Conv2d):
                key = f"features.{name}"
                largest[key] = max(largest.get(key, 0.0), float(x.max()))
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convolutions", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=60)
    args = parser.parse_args()
    largest = largest_values(args.convolutions, sample(args.images, args.limit))
    layers = {
        name: {"largest": round(value, 1), "of_float16": round(value / FLOAT16, 5)}
        for name, value in largest.items()
    }
    record("value_range", {"photographs": args.limit, "float16_largest": FLOAT16, "layers": layers})


if __name__ == "__main__":
    main()
