"""torchvision's VGGs and ResNets: built, given their weights, and written as layer tables."""

import copy
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import get_model, resnet, vgg

from app.errors import WeightsError
from app.networks.network import AveragePool, Conv, Layer, Linear, MaxPool, Network, Residual
from app.networks.weights import Entry, assign, load_state

ARCHITECTURES = (
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
)


def load_network(entry: Entry, device: str = "cpu") -> Network:
    """The network of a manifest entry with its verified weights. Raises WeightsError where file and architecture differ."""
    return network_of(
        load_module(entry).to(device).to(memory_format=torch.channels_last)
    )  # the faster layout on CPU and GPU alike


def load_module(entry: Entry) -> nn.Module:
    """torchvision's module with the entry's verified weights."""
    with torch.device("meta"):
        module = skeleton(entry)
    assign(module, load_state(entry), entry)
    return module.eval().requires_grad_(False)


def network_of(module: nn.Module) -> Network:
    """The table of a torchvision VGG or ResNet, batch-norm folded into the convolutions."""
    module = module.eval().requires_grad_(False)
    match module:
        case vgg.VGG():
            layers = _vgg_layers(module)
        case resnet.ResNet():
            layers = _resnet_layers(module)
        case _:
            raise TypeError(f"no table is known for {type(module).__name__}")
    return Network(tuple(layers))


def narrow_vgg16(widths: Sequence[int], classes: int, *, batch_norm: bool) -> vgg.VGG:
    """VGG-16's topology with `widths` channels in its five blocks, and one linear layer on the averaged last map."""
    blocks: list[str | int] = []
    for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        blocks += [*[width] * depth, "M"]
    model = vgg.VGG(vgg.make_layers(blocks, batch_norm), init_weights=True)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier = nn.Sequential(nn.Linear(widths[-1], classes))
    return model


def fold_batch_norm(model: vgg.VGG) -> vgg.VGG:
    """The same function without batch-norm: each normalisation is multiplied into the convolution before it."""
    layers: list[nn.Module] = []
    for layer in model.eval().features:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = _fuse(layers[-1], layer)
        else:
            layers.append(layer)
    folded = copy.copy(model)
    folded._modules = {**model._modules, "features": nn.Sequential(*layers)}
    return folded


def skeleton(entry: Entry) -> nn.Module:
    """The entry's architecture, with random weights."""
    classes = len(entry.labels)
    if entry.widths is not None:
        return cast(
            "nn.Module",
            narrow_vgg16(entry.widths, classes, batch_norm=entry.architecture.endswith("_bn")),
        )
    if entry.architecture not in ARCHITECTURES:
        raise WeightsError(
            f"network {entry.name!r} has architecture {entry.architecture!r}; known are {', '.join(ARCHITECTURES)}"
        )
    return cast("nn.Module", get_model(entry.architecture, weights=None, num_classes=classes))


def _vgg_layers(module: vgg.VGG) -> Iterator[Layer]:
    layers = [*fold_batch_norm(module).features, module.avgpool, *module.classifier]
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        relu = isinstance(following, nn.ReLU)
        match layer:
            case nn.Conv2d():
                yield _conv(layer, relu)
            case nn.MaxPool2d():
                yield _max_pool(layer)
            case nn.AdaptiveAvgPool2d():
                yield _average_pool(layer)
            case nn.Linear():
                yield Linear(layer.weight, layer.bias, relu)
            case nn.ReLU() | nn.Dropout():
                pass
            case _:
                raise TypeError(f"a VGG with {type(layer).__name__} has no table")


def _resnet_layers(module: resnet.ResNet) -> Iterator[Layer]:
    yield _conv(_fuse(module.conv1, module.bn1), relu=True)
    yield _max_pool(module.maxpool)
    for block in (*module.layer1, *module.layer2, *module.layer3, *module.layer4):
        depth = 3 if isinstance(block, resnet.Bottleneck) else 2
        names = range(1, depth + 1)
        main = tuple(
            _conv(_fuse(getattr(block, f"conv{i}"), getattr(block, f"bn{i}")), relu=i < depth)
            for i in names
        )
        shortcut = (
            () if block.downsample is None else (_conv(_fuse(*block.downsample), relu=False),)
        )
        yield Residual(main, shortcut)
    yield _average_pool(module.avgpool)
    yield Linear(module.fc.weight, module.fc.bias, relu=False)


def _fuse(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
        raise TypeError(
            f"batch-norm is folded into the convolution before it, not {type(norm).__name__} into {type(conv).__name__}"
        )
    return fuse_conv_bn_eval(conv, norm).requires_grad_(False)


def _conv(layer: nn.Conv2d, relu: bool) -> Conv:
    if layer.groups != 1 or layer.dilation != (1, 1):
        raise TypeError(f"only undilated, ungrouped convolutions are known, not {layer}")
    return Conv(layer.weight, layer.bias, _square(layer.stride), _square(layer.padding), relu)


def _max_pool(layer: nn.MaxPool2d) -> MaxPool:
    return MaxPool(_square(layer.kernel_size), _square(layer.stride), _square(layer.padding))


def _average_pool(layer: nn.AdaptiveAvgPool2d) -> AveragePool:
    return AveragePool(_square(layer.output_size))


def _square(value: object) -> int:
    """torch writes a size as one number or two; a layer has one for both axes."""
    match value:
        case int() | (int(), int()) if isinstance(value, int) or value[0] == value[1]:
            return value if isinstance(value, int) else int(value[0])
    raise TypeError(f"only sizes that are the same on both axes are known, not {value}")
