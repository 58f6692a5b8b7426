"""Small networks of VGG's kind (Simonyan and Zisserman 2014).

Parameters are named and initialised as torchvision's. torchvision itself stays out: its import
brings PyTorch's compiler, which takes a second of a start that takes two without it.
"""

import copy
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class SmallVGG(nn.Module):
    """Convolutions, their maps averaged to pool x pool, and a head."""

    def __init__(self, features: nn.Sequential, pool: int, head: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(pool)
        self.classifier = head

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return found


def narrow_vgg16(widths: Sequence[int], classes: int, *, batch_norm: bool) -> SmallVGG:
    """VGG-16's topology with `widths` channels in its five blocks.

    The head is one linear layer on the averaged last map.
    """
    blocks: list[str | int] = []
    for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        blocks += [*[width] * depth, "M"]
    head = nn.Sequential(nn.Linear(widths[-1], classes))
    return small_vgg(blocks, 1, head, batch_norm=batch_norm)


def small_vgg(
    blocks: Sequence[str | int], pool: int, head: nn.Sequential, *, batch_norm: bool
) -> SmallVGG:
    """A VGG of such convolutions, by their channels, and of such pools, by `M`."""
    model = SmallVGG(_features(blocks, batch_norm), pool, head)
    if head[0].weight.is_meta:  # weights that are given later; to draw them imports the compiler
        return model
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.zeros_(cast("nn.Parameter", layer.bias))
    return model


def _features(blocks: Sequence[str | int], batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for block in blocks:
        if isinstance(block, str):
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(channels, block, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(block))
        layers.append(nn.ReLU(inplace=True))
        channels = block
    return nn.Sequential(*layers)


def fold_batch_norm(model: SmallVGG) -> SmallVGG:
    """The same function without batch-norm.

    Each normalisation is multiplied into the convolution before it.
    """
    layers: list[nn.Module] = []
    for layer in model.eval().features:
        if isinstance(layer, nn.BatchNorm2d):
            conv = cast("nn.Conv2d", layers[-1])
            layers[-1] = fuse_conv_bn_eval(conv, layer).requires_grad_(False)
        else:
            layers.append(layer)
    folded = copy.copy(model)
    folded._modules = {**model._modules, "features": nn.Sequential(*layers)}
    return folded
