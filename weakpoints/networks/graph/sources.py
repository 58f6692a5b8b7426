"""Networks of torchvision and timm by name, made ready for `export`."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from weakpoints.errors import WeightsError
from weakpoints.networks.graph.adding import IMAGENET_MEAN, IMAGENET_STD
from weakpoints.networks.graph.files import tensors_of
from weakpoints.networks.manifest import Channels

SIDE = 224


@dataclass(frozen=True)
class Source:
    """A module with its weights, and how its pictures are prepared. labels: None if unknown."""

    module: nn.Module
    side: int
    mean: Channels
    std: Channels
    labels: tuple[str, ...] | None


def source(name: str, weights: Path | None, classes: int | None) -> Source:
    """name: `torchvision:NAME` or `timm:NAME`. weights: a file; None: the library's own, fetched.

    classes: how many, where a file of weights was given. Raises WeightsError.
    """
    made = architecture(name, classes, pretrained=weights is None)
    if weights is None:
        return made
    state = tensors_of(weights)
    try:
        made.module.load_state_dict(state, strict=True)
    except Exception as error:  # other names, other shapes
        raise _impossible(name, error) from error
    return made


def architecture(name: str, classes: int | None, *, pretrained: bool) -> Source:
    """With the library's own weights, or with random ones for so many classes."""
    library, _, architecture = name.partition(":")
    makers = {"torchvision": _torchvision, "timm": _timm}
    if library not in makers or not architecture:
        raise WeightsError(
            f"a network is torchvision:NAME or timm:NAME, not {name!r}; a module of your own is "
            "written by weakpoints.export(module, ...) in Python"
        )
    if find_spec(library) is None:
        raise WeightsError(f"{name} needs {library}: pip install {library}")
    try:
        return makers[library](architecture, pretrained, classes)
    except Exception as error:  # an unknown name, a download that fails
        raise _impossible(name, error) from error


def _impossible(name: str, error: Exception) -> WeightsError:
    reason = " ".join(str(error).split())[:300]
    return WeightsError(f"{name} can't be made with these weights: {reason}")


def _torchvision(name: str, pretrained: bool, classes: int | None) -> Source:
    from torchvision.models import get_model, get_model_weights

    known = get_model_weights(name)
    default: Any = known["DEFAULT"]
    side = int(default.transforms().crop_size[0])
    mean, std = default.transforms().mean, default.transforms().std
    if pretrained:
        module = get_model(name, weights=default)
        return Source(module, side, tuple(mean), tuple(std), tuple(default.meta["categories"]))
    extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    module = get_model(name, weights=None, **extra, **({"num_classes": classes} if classes else {}))
    return Source(module, side, tuple(mean), tuple(std), None)


def _timm(name: str, pretrained: bool, classes: int | None) -> Source:
    timm: Any = import_module("timm")  # an extra
    extra = {"num_classes": classes} if classes and not pretrained else {}
    module = timm.create_model(name, pretrained=pretrained, **extra)
    config = module.pretrained_cfg
    return Source(
        module,
        int(config.get("input_size", (3, SIDE, SIDE))[-1]),
        tuple(config.get("mean", IMAGENET_MEAN)),
        tuple(config.get("std", IMAGENET_STD)),
        None,
    )
