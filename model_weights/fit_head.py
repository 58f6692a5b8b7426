"""Fit a linear head on the averaged last map of given VGG-16 convolutions.

    python model_weights/fit_head.py --convolutions FILE --train DIR --out DIR

The photographs come from a folder of class folders. FILE has torchvision's `features.*` tensors as
safetensors. The convolutions stay as they are. The head is a multinomial logistic regression
(softmax regression) with an L2 penalty. The photographs go through the network once. Their features
are kept in `--out`, so that an interrupted run goes on. It writes NAME.safetensors,
NAME.labels.json and manifest.json (for `--manifest`) into `--out`. Needs `pip install -e .`.
"""

import argparse
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from weakpoints.method.frame import InputSpec, network_input
from weakpoints.networks.modules.small_vgg import SmallVGG, narrow_vgg16

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
PENALTY = 1e-3  # L2, on the weights for standardised features
BATCH = 8


def with_convolutions(state: dict[str, Tensor], classes: int) -> SmallVGG:
    """VGG-16's topology with these convolutions, and a head that is still to be fitted.

    The five widths are read off the last convolution of each block.
    """
    depths = np.cumsum([2, 2, 3, 3, 3])
    layers = sorted(
        (int(name.split(".")[1]), tensor.shape[0])
        for name, tensor in state.items()
        if name.startswith("features.") and name.endswith(".weight")
    )
    if len(layers) != depths[-1]:
        raise SystemExit(f"VGG-16 has {depths[-1]} convolutions, the file has {len(layers)}")
    model = narrow_vgg16([layers[i - 1][1] for i in depths], classes, batch_norm=False)
    model.features.load_state_dict(
        {
            name.removeprefix("features."): tensor.float()
            for name, tensor in state.items()
            if name.startswith("features.")
        }
    )
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@torch.inference_mode()
def features(model: SmallVGG, files: list[Path], spec: InputSpec) -> Tensor:
    """(N, K): the averaged last map of each photograph.

    Photographs are squashed into the input as the service does.
    """
    found = []
    for start in range(0, len(files), BATCH):
        images = [
            np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB), np.uint8)
            for file in files[start:][:BATCH]
        ]
        x = np.concatenate([network_input(image, spec, "squash", None)[0] for image in images])
        batch = torch.from_numpy(x).float().to(memory_format=torch.channels_last)
        found.append(model.avgpool(model.features(batch)).flatten(1))
    return torch.cat(found)


def softmax_regression(x: Tensor, labels: Tensor, classes: int) -> nn.Linear:
    """The least penalised cross-entropy over features x (N, K).

    Found by L-BFGS on standardised features.
    """
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    scaled = (x - mean) / deviation
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(F.linear(scaled, weight, bias), labels)
        value = value + PENALTY * weight.square().sum()
        value.backward()
        return value

    solver.step(loss)
    head = nn.Linear(x.shape[1], classes)
    with torch.no_grad():
        head.weight.copy_(weight / deviation)
        head.bias.copy_(bias - (weight / deviation) @ mean)
    return head.requires_grad_(False)


def save(
    model: SmallVGG, classes: list[str], name: str, side: int, licence: str, out: Path
) -> None:
    """The weights, the labels, and a manifest with this one network."""
    weights, labels = out / f"{name}.safetensors", out / f"{name}.labels.json"
    save_file({key: each.contiguous() for key, each in model.state_dict().items()}, weights)
    labels.write_text(json.dumps(classes, indent=0) + "\n")
    widths = [
        layer.out_channels
        for layer, following in zip(model.features[:-2], model.features[2:], strict=True)
        if isinstance(layer, nn.Conv2d) and isinstance(following, nn.MaxPool2d)
    ]
    entry = {
        "architecture": "vgg16",
        "widths": widths,
        "labels": labels.name,
        "side": side,
        "mean": MEAN,
        "std": STD,
        "file": weights.name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "licence": licence,
        "occluder": {  # as of VGG-16 in our manifest
            "patch": 2 * side // 7,
            "stride": side // 7,
            "colours": 1,
            "weight": 0.15,
            "fine_share": 0.25,
        },
    }
    manifest = json.dumps({"networks": {name: entry}}, indent=1)
    (out / "manifest.json").write_text(manifest + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--convolutions", type=Path, required=True, help="safetensors")
    parser.add_argument("--train", type=Path, required=True, help="one sub-folder a class")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="vgg16real", help="of the network in the manifest")
    parser.add_argument("--each", type=int, default=30, help="photographs a class, at most")
    parser.add_argument("--side", type=int, default=224, help="input side")
    parser.add_argument("--licence", default="see the sources of convolutions and photographs")
    args = parser.parse_args()

    classes = sorted(folder.name for folder in args.train.iterdir() if folder.is_dir())
    model = with_convolutions(load_file(args.convolutions), len(classes))
    spec = InputSpec(args.side, MEAN, STD)
    kept = args.out / "features"
    kept.mkdir(parents=True, exist_ok=True)
    for name in tqdm(classes, desc="features"):
        if not (kept / f"{name}.npy").exists():
            files = sorted(
                path for path in (args.train / name).iterdir() if path.suffix.lower() in SUFFIXES
            )
            found = features(model, files[: args.each], spec)
            np.save(kept / f"{name}.npy", found.numpy())
    each = [torch.from_numpy(np.load(kept / f"{name}.npy")) for name in classes]
    labels = torch.tensor([i for i, rows in enumerate(each) for _ in rows])
    x = torch.cat(each)
    model.classifier = nn.Sequential(softmax_regression(x, labels, len(classes)))
    right = (model.classifier(x).argmax(1) == labels).float().mean().item()
    save(model, classes, args.name, args.side, args.licence, args.out)
    print(f"{args.out / 'manifest.json'}: {len(x)} photographs, {right:.4f} of them right")


if __name__ == "__main__":
    main()
