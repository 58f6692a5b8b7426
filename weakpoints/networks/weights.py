"""Weights are an input, and are checked like one: the verified load."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from weakpoints.errors import WeightsError
from weakpoints.networks.download import verify
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


def assign(module: nn.Module, state: dict[str, Tensor], entry: Entry) -> None:
    """Gives a module its tensors: all of them and no others, of the right shapes, in its types.

    The module may be on the meta device, too.
    """
    wanted = module.state_dict()
    wanted = {
        key: value
        for key, value in wanted.items()
        if not (key.endswith("num_batches_tracked") and key not in state)
    }
    missing, unknown = sorted(wanted.keys() - state), sorted(state.keys() - wanted)
    if missing or unknown:
        raise WeightsError(
            f"the weights of {entry.name!r} do not fit {entry.architecture}: "
            + "; ".join(
                f"{len(keys)} {what} ({', '.join(keys[:3])})"
                for what, keys in (("missing", missing), ("unknown", unknown))
                if keys
            )
        )
    for key, value in wanted.items():
        if value.shape != state[key].shape:
            raise WeightsError(
                f"the weights of {entry.name!r} do not fit: {key} is {list(state[key].shape)}, "
                f"{entry.architecture} with {len(entry.labels)} labels wants {list(value.shape)}"
            )
        if value.is_floating_point() and not state[key].is_floating_point():
            raise WeightsError(
                f"the weights of {entry.name!r} do not fit: {key} is of {state[key].dtype}, and "
                "floating point is needed"
            )
    # A file in half precision is a smaller download, not another arithmetic: `precision` says that.
    state = {key: value.to(wanted[key].dtype) for key, value in state.items()}
    for key, value in state.items():
        if not value.sum().isfinite() and not value.isfinite().all():  # a sum is the quicker look
            raise WeightsError(
                f"the weights of {entry.name!r} are no numbers: {key} has NaN or infinity"
            )
    counters = {key: torch.tensor(0) for key in module.state_dict().keys() - wanted}
    module.load_state_dict(state | counters, strict=True, assign=True)
