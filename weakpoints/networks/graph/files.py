"""A network as files: NAME.graph.json, NAME.safetensors, NAME.labels.json and a manifest's entry.

No code of the model's is needed to load them, and nothing is unpickled.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from weakpoints.errors import WeightsError
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.graph import Graph, Operation
from weakpoints.networks.manifest import Entry, Occluder
from weakpoints.networks.network import Network

FORMAT = "weakpoints graph 1"
GRAPH_BYTES = 16 * 2**20  # of a graph's file; the largest of torchvision's has 1 MiB
Channels = tuple[float, float, float]
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
    check_labels(network_of_graph(graph, tensors, side), labels, side)
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
        "sha256": _digest(weights),
        "graph": written.name,
        "graph_sha256": _digest(written),
        "licence": licence,
        "occluder": _occluder(side).model_dump(),
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


def _occluder(side: int) -> Occluder:
    """As of EfficientNet-Lite0: boxes of 64 every 32 at 224, of one colour."""
    return Occluder(patch=max(1, 2 * side // 7), stride=max(1, side // 7), colours=1, weight=0.2)


def load(
    graph: Path,
    graph_sha256: str,
    weights: Path,
    side: int,
    labels: Sequence[str],
    device: str = "cpu",
) -> Network:
    """The network of a graph's file and its weights, whose digest is checked by the caller.

    Raises WeightsError in one sentence, before anything is computed.
    """
    if not graph.exists():
        raise WeightsError(f"the graph is not at {graph}")
    if graph.stat().st_size > GRAPH_BYTES:
        raise WeightsError(
            f"{graph} has {graph.stat().st_size} bytes; a graph has at most {GRAPH_BYTES}",
            limit=GRAPH_BYTES,
            actual=graph.stat().st_size,
        )
    actual = _digest(graph)
    if actual != graph_sha256:
        raise WeightsError(f"{graph} has SHA-256 {actual}, the manifest says {graph_sha256}")
    if weights.suffix != ".safetensors":
        raise WeightsError(f"weights of a graph are a .safetensors file; {weights.name} is none")
    try:
        tensors = load_file(weights, device=device)
    except Exception as error:  # broken files make the reader raise almost anything
        raise WeightsError(f"{weights} holds no safetensors: {error}") from error
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(f"{weights} holds numbers that are not finite: {key}")
    network = network_of_graph(from_json(graph.read_text(), graph.name), tensors, side)
    check_labels(network, labels, side)
    return network


@torch.inference_mode()
def check_labels(network: Network, labels: Sequence[str], side: int) -> None:
    """Raises WeightsError where there are not as many labels as logits."""
    try:
        logits = network.logits(network.like.new_zeros(1, 3, side, side))
    except Exception as error:  # arguments that shapes alone do not show to be wrong
        reason = str(error).strip().splitlines()[0][:200]
        raise WeightsError(f"the graph can't be computed: {reason}") from error
    if logits.shape != (1, len(labels)):
        raise WeightsError(
            f"the network answers {list(logits.shape[1:])} logits, and there are {len(labels)} "
            "labels"
        )


def to_json(graph: Graph) -> str:
    operations = [asdict(operation) for operation in graph.operations]
    lines = ",\n".join(json.dumps(operation) for operation in operations)
    head = json.dumps({"format": FORMAT, "picture": graph.picture, "output": graph.output})
    return f'{head[:-1]}, "operations": [\n{lines}\n]}}\n'


def from_json(text: str, name: str) -> Graph:
    """Raises WeightsError where it is no graph of ours."""
    try:
        given = json.loads(text)
        if given["format"] != FORMAT:
            raise WeightsError(f"{name} is of the format {given['format']!r}, not {FORMAT!r}")
        operations = tuple(
            Operation(
                str(operation["name"]),
                str(operation["kind"]),
                tuple(operation["arguments"]),
                dict(operation["options"]),
            )
            for operation in given["operations"]
        )
        return Graph(str(given["picture"]), operations, str(given["output"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{name} is no graph as `weakpoints networks add` writes it: {error!r}"
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry_of(
    module: nn.Module, labels: Sequence[str], side: int, mean: Channels, std: Channels
) -> tuple[Entry, Network]:
    """A module without files: what a manifest would say of it, and its network."""
    graph, tensors = graph_of(module, side)
    network = network_of_graph(graph, tensors, side)
    check_labels(network, labels, side)
    digest = hashlib.sha256(to_json(graph).encode())
    for key in sorted(tensors):
        digest.update(
            tensors[key].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
        )
    name, sha256 = type(module).__name__, digest.hexdigest()
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
        occluder=_occluder(side),
    )
    return entry, network


def tensors_of(path: Path) -> dict[str, Tensor]:
    """A state dictionary from safetensors, or from a `.pth` of nothing but tensors."""
    if path.suffix == ".onnx":
        raise WeightsError(
            f"{path.name} is an ONNX file; give the PyTorch module, or its weights as .safetensors"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        given = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickled module is refused here, too
        raise WeightsError(
            f"{path.name} holds no state dictionary that can be loaded safely; save "
            f"module.state_dict() as .safetensors ({type(error).__name__})"
        ) from error
    state: dict[str, Tensor] = given.get("state_dict", given) if isinstance(given, dict) else {}
    return state
