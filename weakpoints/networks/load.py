"""The network of a manifest's entry: its graph, with its verified weights."""

from pathlib import Path

import torch

from weakpoints.errors import WeightsError
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.files import read_graph
from weakpoints.networks.manifest import MODEL_WEIGHTS, Entry
from weakpoints.networks.network import Network
from weakpoints.networks.weights import fitting, load_state

GRAPHS = MODEL_WEIGHTS / "graphs"  # of architectures that an entry may name
SUFFIX = ".graph.json"
SIDES = {"efficientnet_lite0": 32}  # its padding is right for multiples of this


def load_network(entry: Entry, device: str = "cpu") -> Network:
    """Raises WeightsError where weights, graph, side and labels do not fit."""
    graph = read_graph(graph_file(entry), entry.graph_sha256)
    state = fitting(load_state(entry), graph, entry)
    tensors = {name: tensor.to(device) for name, tensor in state.items()}
    for name, tensor in tensors.items():
        if tensor.dim() == 4:  # the faster order in memory on CPU and GPU alike
            tensors[name] = tensor.contiguous(memory_format=torch.channels_last)
    return network_of_graph(graph, tensors, entry.side, len(entry.labels))


def architectures() -> list[str]:
    """Whose graphs come with weakpoints."""
    return sorted(file.name.removesuffix(SUFFIX) for file in GRAPHS.glob(f"*{SUFFIX}"))


def graph_file(entry: Entry) -> Path:
    """The entry's own, or that of its architecture."""
    if entry.graph is not None:
        return entry.graph
    name = entry.architecture if entry.widths is None else f"narrow_{entry.architecture}"
    if name not in architectures():
        raise WeightsError(
            f"network {entry.name!r} has architecture {name!r}; "
            f"known are {', '.join(architectures())}; `weakpoints networks add` adds any other"
        )
    multiple = SIDES.get(name, 1)
    if entry.side % multiple:
        raise WeightsError(
            f"network {entry.name!r} has side {entry.side}; that of {name} is a multiple of "
            f"{multiple}",
            limit=multiple,
            actual=entry.side,
        )
    return GRAPHS / f"{name}{SUFFIX}"
