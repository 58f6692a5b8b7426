"""A module becomes a network: as files with a manifest's entry, or without any."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from weakpoints.errors import WeightsError
from weakpoints.networks.download import digest
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.files import to_json
from weakpoints.networks.manifest import Channels, Entry, Occluder
from weakpoints.networks.network import Network

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def export(
    module: nn.Module,
    *,
    name: str,
    labels: Sequence[str],
    side: int,
    to: str | os.PathLike[str],
    mean: Channels = IMAGENET_MEAN,
    std: Channels = IMAGENET_STD,
    licence: str = "unknown",
) -> Path:
    """Writes the module as a network into the folder `to`, whose manifest gets an entry more.

    The module takes (N, 3, side, side) and answers (N, classes). mean, std: of pixels from 0 to 1,
    as it was trained. Returns the manifest's path. Raises WeightsError; nothing is written then.
    """
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name[0] == ".":
        raise WeightsError(f"a network's name is letters, digits, '-', '_' and '.'; not {name!r}")
    graph, tensors = graph_of(module, side)
    network_of_graph(graph, tensors, side, len(labels))
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.json"
    networks = json.loads(manifest.read_text())["networks"] if manifest.exists() else {}
    weights, written = folder / f"{name}.safetensors", folder / f"{name}.graph.json"
    if networks.get(name, {}).get("graph") != written.name:
        _check_free(weights, written, folder / f"{name}.labels.json")
    save_file({key: tensor.cpu().contiguous().clone() for key, tensor in tensors.items()}, weights)
    written.write_text(to_json(graph))
    (folder / f"{name}.labels.json").write_text(json.dumps(list(labels), ensure_ascii=False))
    networks[name] = {
        "architecture": "graph",
        "labels": f"{name}.labels.json",
        "side": side,
        "mean": list(mean),
        "std": list(std),
        "file": weights.name,
        "sha256": digest(weights),
        "graph": written.name,
        "graph_sha256": digest(written),
        "licence": licence,
        "occluder": default_occluder(side).model_dump(),
    }
    partial = manifest.with_name("manifest.json.partial")
    partial.write_text(json.dumps({"networks": networks}, indent=1))
    partial.replace(manifest)
    return manifest


def _check_free(*files: Path) -> None:
    """Raises WeightsError where a file is there that no export under this name made."""
    for file in files:
        if file.exists():
            raise WeightsError(f"{file} is there, and is not of an exported network of this name")


def default_occluder(side: int) -> Occluder:
    """36 boxes of 2/7 of the side, of one colour.

    Measured on EfficientNet-Lite0 and VGG-16 (64 every 32 at 224). How large a part of the picture
    is covered decides, not the network's strides.
    """
    patch = max(1, 2 * side // 7)
    stride = max(1, -(-(side - patch) // 5))  # six boxes in a row, the last flush with the edge
    return Occluder(patch=patch, stride=stride, colours=1, weight=0.1)


def entry_of(
    module: nn.Module, labels: Sequence[str], side: int, mean: Channels, std: Channels
) -> tuple[Entry, Network]:
    """A module without files: what a manifest would say of it, and its network."""
    graph, tensors = graph_of(module, side)
    network = network_of_graph(graph, tensors, side, len(labels))
    content = hashlib.sha256(to_json(graph).encode())
    for key in sorted(tensors):
        content.update(
            tensors[key].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
        )
    name, sha256 = type(module).__name__, content.hexdigest()
    path = Path(f"(module {name})")
    entry = Entry(
        name,
        "graph",
        tuple(labels),
        side,
        mean,
        std,
        path,
        None,
        sha256,
        "of its module",
        occluder=default_occluder(side),
    )
    return entry, network
