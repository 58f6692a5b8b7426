"""Weights are an input, and are checked like one: the verified load."""

import torch
from safetensors.torch import load_file
from torch import Tensor

from weakpoints.errors import WeightsError
from weakpoints.networks.download import verify
from weakpoints.networks.graph.graph import Graph
from weakpoints.networks.manifest import Entry


def load_state(entry: Entry) -> dict[str, Tensor]:
    """The verified tensors on the CPU, from safetensors or a `.pth`.

    Of a `.pth` nothing but tensors is unpickled.
    """
    verify(entry)
    try:
        if entry.path.suffix == ".safetensors":
            return load_file(entry.path)
        state = torch.load(entry.path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken files make the unpickler raise almost anything
        raise WeightsError(
            f"{entry.path} holds no weights that can be loaded safely: {type(error).__name__}"
        ) from error
    return _state_dict(state, entry)


def _state_dict(state: object, entry: Entry) -> dict[str, Tensor]:
    """What a `.pth` holds, where that is tensors by their names."""
    if not isinstance(state, dict):
        raise WeightsError(
            f"{entry.path} holds a {type(state).__name__}; a state dictionary is needed, tensors "
            "by their names"
        )
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{entry.path} is no state dictionary: {str(key)[:100]!r} is a "
                f"{type(value).__name__}; names are texts, and values are tensors"
            )
    return state


def fitting(state: dict[str, Tensor], graph: Graph, entry: Entry) -> dict[str, Tensor]:
    """What the graph reads, in float32: all of it is there, nothing else is, and it is finite."""
    wanted, weights = graph.parameters, graph.weights
    counters = {key for key in state if key.endswith("num_batches_tracked")}
    missing, unknown = sorted(wanted - state.keys()), sorted(state.keys() - wanted - counters)
    if missing or unknown:
        raise WeightsError(
            f"the weights of {entry.name!r} do not fit {entry.architecture}: "
            + "; ".join(
                f"{len(keys)} {what} ({', '.join(keys[:3])})"
                for what, keys in (("missing", missing), ("unknown", unknown))
                if keys
            )
        )
    return {key: _real(key, state[key], entry, weight=key in weights) for key in wanted}


def _real(key: str, tensor: Tensor, entry: Entry, *, weight: bool) -> Tensor:
    """weight: of a convolution or the like; other tensors may be indices."""
    if not tensor.is_floating_point():
        if weight or tensor.is_complex():
            raise WeightsError(
                f"the weights of {entry.name!r} do not fit: {key} is of {tensor.dtype}, and "
                "floating point is needed"
            )
        return tensor
    # A file in half precision is a smaller download, not another arithmetic: `precision` says that.
    tensor = tensor.to(torch.float32)
    if not tensor.sum().isfinite() and not tensor.isfinite().all():  # a sum is the quicker look
        raise WeightsError(
            f"the weights of {entry.name!r} are no numbers: {key} has NaN or infinity"
        )
    return tensor
