"""A graph as JSON, and tensors from files of weights. Nothing but tensors is unpickled."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from weakpoints.errors import WeightsError
from weakpoints.networks.download import digest
from weakpoints.networks.graph.graph import Graph, Operation

FORMAT = "weakpoints graph 1"
GRAPH_BYTES = 16 * 2**20  # of a graph's file; the largest of torchvision's has 1 MiB


def read_graph(path: Path, sha256: str | None) -> Graph:
    """sha256: what the file's digest has to be. Raises WeightsError in one sentence."""
    if not path.exists():
        raise WeightsError(f"the graph is not at {path}")
    size = path.stat().st_size
    if size > GRAPH_BYTES:
        raise WeightsError(
            f"{path} has {size} bytes; a graph has at most {GRAPH_BYTES}",
            limit=GRAPH_BYTES,
            actual=size,
        )
    if sha256 is not None and (actual := digest(path)) != sha256:
        raise WeightsError(f"{path} has SHA-256 {actual}, the manifest says {sha256}")
    return from_json(path.read_text(), path.name)


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
