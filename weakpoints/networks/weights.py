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
        state: dict[str, Tensor] = torch.load(entry.path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # broken files make the unpickler raise almost anything
        raise WeightsError(
            f"{entry.path} holds no weights that can be loaded safely: {type(error).__name__}"
        ) from error


def assign(module: nn.Module, state: dict[str, Tensor], entry: Entry) -> None:
    """Gives a module its tensors: all of them and no others, each of the right shape.

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
    counters = {key: torch.tensor(0) for key in module.state_dict().keys() - wanted}
    module.load_state_dict(state | counters, strict=True, assign=True)
