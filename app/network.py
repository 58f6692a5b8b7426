"""The layer table of a convolutional classifier: built once, read by the forward pass, the occlusion and the guided walk."""

import copy
from collections.abc import Sequence

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.vgg import VGG, make_layers


def narrow_vgg16(widths: Sequence[int], classes: int, *, batch_norm: bool) -> VGG:
    """VGG-16's topology with `widths` channels in its five blocks, and one linear layer on the averaged last map."""
    blocks: list[str | int] = []
    for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        blocks += [*[width] * depth, "M"]
    model = VGG(make_layers(blocks, batch_norm), init_weights=True)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier = nn.Sequential(nn.Linear(widths[-1], classes))
    return model


def fold_batch_norm(model: VGG) -> VGG:
    """The same function without batch-norm: each normalisation is multiplied into the convolution before it."""
    layers: list[nn.Module] = []
    for layer in model.eval().features:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    folded = copy.copy(model)
    folded._modules = {**model._modules, "features": nn.Sequential(*layers)}
    return folded
