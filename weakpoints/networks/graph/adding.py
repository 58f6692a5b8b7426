"""A module becomes a network: as files with a manifest's entry, or without any."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from weakpoints.errors import WeightsError
from weakpoints.networks.download import digest
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.files import to_json
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.labels import given_labels
from weakpoints.networks.manifest import LEAST_STD, Channels, Entry, Occluder
from weakpoints.networks.network import Network, Residual
from weakpoints.options import NetworkDefaults

CHAIN_FINE_SHARE = 0.25  # of a plain chain of convolutions, as chosen for VGG-16
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
    labels, (mean, std) = given_labels(labels), _channels(mean, std)
    folder = Path(to)
    manifest = folder / "manifest.json"
    networks = _networks_of(manifest)
    graph, tensors = graph_of(module, side)
    network = network_of_graph(graph, tensors, side, len(labels))
    folder.mkdir(parents=True, exist_ok=True)
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
        "occluder": default_occluder(network, side).model_dump(),
    }
    partial = manifest.with_name("manifest.json.partial")
    partial.write_text(json.dumps({"networks": networks}, indent=1))
    partial.replace(manifest)
    return manifest


def _channels(mean: Channels, std: Channels) -> tuple[Channels, Channels]:
    """As a manifest has them. Raises WeightsError for what it would refuse."""
    numbers = []
    for name, given, least in (("mean", mean, 0.0), ("std", std, LEAST_STD)):
        try:
            red, green, blue = (float(value) for value in given)
        except (TypeError, ValueError):
            raise WeightsError(f"{name} is {given!r}; three numbers are expected") from None
        # asked this way round, NaN is out of range
        if not all(least <= value <= 1 for value in (red, green, blue)):
            raise WeightsError(
                f"{name} is {(red, green, blue)}; it is of pixels from 0 to 1, so each is from "
                f"{least:g} to 1 (divide what is of pixels from 0 to 255 by 255)"
            )
        numbers.append((red, green, blue))
    return numbers[0], numbers[1]


def _networks_of(manifest: Path) -> dict[str, Any]:
    """Those of a manifest that is there. Raises WeightsError where the file is another's."""
    if not manifest.exists():
        return {}
    try:
        networks = json.loads(manifest.read_text())["networks"]
        if isinstance(networks, dict):
            return networks
    except (ValueError, KeyError, TypeError):
        pass
    raise WeightsError(f"{manifest} is there, and is not a manifest of networks")


def _check_free(*files: Path) -> None:
    """Raises WeightsError where a file is there that no export under this name made."""
    for file in files:
        if file.exists():
            raise WeightsError(f"{file} is there, and is not of an exported network of this name")


def default_occluder(network: Network, side: int) -> Occluder:
    """36 boxes of 2/7 of the side, of one colour; the fine map counts less in a plain chain.

    Measured on EfficientNet-Lite0 and VGG-16 (64 every 32 at 224). How large a part of the picture
    is covered decides, not the network's strides.
    """
    patch = max(1, 2 * side // 7)
    stride = max(1, -(-(side - patch) // 5))  # six boxes in a row, the last flush with the edge
    chain = not any(isinstance(layer, Residual | Segment) for layer in network.layers)
    share = CHAIN_FINE_SHARE if chain else NetworkDefaults.fine_share
    return Occluder(patch=patch, stride=stride, colours=1, fine_share=share)


def entry_of(
    module: nn.Module,
    labels: Sequence[str],
    side: int,
    mean: Channels,
    std: Channels,
    device: str,
) -> tuple[Entry, Network]:
    """A module without files: what a manifest would say of it, and its network on the device."""
    labels, (mean, std) = given_labels(labels), _channels(mean, std)
    if isinstance(module, nn.Module):  # what is none, `graph_of` refuses
        module = module.to(device)
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
        labels,
        side,
        mean,
        std,
        path,
        None,
        sha256,
        "of its module",
        occluder=default_occluder(network, side),
    )
    return entry, network
