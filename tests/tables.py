"""Tables of layers written by hand for each family: what the tables of graphs are compared with."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from weakpoints.networks.modules.efficientnet_lite import Block, EfficientNetLite, SameConv2d
from weakpoints.networks.modules.small_vgg import SmallVGG, fold_batch_norm
from weakpoints.networks.network import AveragePool, Conv, Layer, Linear, MaxPool, Network, Residual

if TYPE_CHECKING:
    from torchvision.models import mobilenetv2, resnet, vgg


def network_of(module: nn.Module) -> Network:
    """The table of a module, batch-norm folded into the convolutions."""
    module = module.eval().requires_grad_(False)
    match module:
        case SmallVGG():
            layers = _vgg_layers(module)
        case EfficientNetLite():
            layers = _efficientnet_lite_layers(module)
        case _:
            layers = _torchvision_layers(module)
    return Network(tuple(layers))


def _torchvision_layers(module: nn.Module) -> Iterator[Layer]:
    # Here: it brings PyTorch's compiler, and processes that make a toy start quickly without it.
    from torchvision.models import mobilenetv2, resnet, vgg

    match module:
        case vgg.VGG():
            return _vgg_layers(module)
        case resnet.ResNet():
            return _resnet_layers(module)
        case mobilenetv2.MobileNetV2():
            return _mobilenet_layers(module)
    raise TypeError(f"no table is known for {type(module).__name__}")


def _vgg_layers(module: "SmallVGG | vgg.VGG") -> Iterator[Layer]:
    layers = [*fold_batch_norm(module).features, module.avgpool, *module.classifier]
    cells = _average_pool(module.avgpool).side ** 2
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
                yield Linear(_by_cells(layer.weight, cells), layer.bias, relu)
                cells = 1
            case nn.ReLU() | nn.Dropout():
                pass
            case _:
                raise TypeError(f"a VGG with {type(layer).__name__} has no table")


def _by_cells(weight: Tensor, cells: int) -> Tensor:
    """(N, K * cells) -> (N, cells * K): PyTorch flattens a map channel by channel."""
    return weight.view(len(weight), -1, cells).transpose(1, 2).flatten(1)


def _resnet_layers(module: "resnet.ResNet") -> Iterator[Layer]:
    yield _conv(_fuse(module.conv1, module.bn1), relu=True)
    yield _max_pool(module.maxpool)
    for block in (*module.layer1, *module.layer2, *module.layer3, *module.layer4):
        depth = 3 if hasattr(block, "conv3") else 2  # of a bottleneck, or of a basic block
        names = range(1, depth + 1)
        main = tuple(
            _conv(_fuse(getattr(block, f"conv{i}"), getattr(block, f"bn{i}")), relu=i < depth)
            for i in names
        )
        shortcut = (
            () if block.downsample is None else (_conv(_fuse(*block.downsample), relu=False),)
        )
        yield Residual(main, shortcut, relu=True)
    yield _average_pool(module.avgpool)
    yield Linear(module.fc.weight, module.fc.bias, relu=False)


def _mobilenet_layers(module: "mobilenetv2.MobileNetV2") -> Iterator[Layer]:
    """Inverted residuals (Sandler et al. 2018).

    One whose shapes change is a chain without shortcut.
    """
    first, *blocks, last = module.features
    yield _conv(_fuse(first[0], first[1]), relu=True, ceiling=6)
    for block in blocks:
        *inner, project, norm = block.conv
        chain = (
            *(_conv(_fuse(part[0], part[1]), relu=True, ceiling=6) for part in inner),
            _conv(_fuse(project, norm), relu=False),
        )
        yield from (Residual(chain, (), relu=False),) if block.use_res_connect else chain
    yield _conv(_fuse(last[0], last[1]), relu=True, ceiling=6)
    yield AveragePool(1)
    yield Linear(module.classifier[1].weight, module.classifier[1].bias, relu=False)


def _efficientnet_lite_layers(module: EfficientNetLite) -> Iterator[Layer]:
    """The padding of each convolution follows from the side of the map before it."""
    side = module.side

    def conv(layer: SameConv2d, norm: nn.Module, *, relu: bool) -> Conv:
        nonlocal side
        before, after = layer.pads(side)
        side = -(-side // layer.stride[0])
        table = _conv(_fuse(layer, norm), relu, ceiling=6 if relu else inf)
        return replace(table, padding=before, extra=after - before)

    yield conv(module._conv_stem, module._bn0, relu=True)
    for block in cast("Iterable[Block]", module._blocks):
        chain: list[Layer] = []
        if block._expand_conv is not None and block._bn0 is not None:
            chain.append(conv(block._expand_conv, block._bn0, relu=True))
        chain.append(conv(block._depthwise_conv, block._bn1, relu=True))
        chain.append(conv(block._project_conv, block._bn2, relu=False))
        yield from (Residual(tuple(chain), (), relu=False),) if block.adds else chain
    yield conv(module._conv_head, module._bn1, relu=True)
    yield AveragePool(1)
    yield Linear(module._fc.weight, module._fc.bias, relu=False)


def _fuse(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
        raise TypeError(
            "batch-norm is folded into the convolution before it, "
            f"not {type(norm).__name__} into {type(conv).__name__}"
        )
    return fuse_conv_bn_eval(conv, norm).requires_grad_(False)


def _conv(layer: nn.Conv2d, relu: bool, ceiling: float = inf) -> Conv:
    if layer.dilation != (1, 1):
        raise TypeError(f"only undilated convolutions are known, not {layer}")
    return Conv(
        layer.weight,
        layer.bias,
        _square(layer.stride),
        _square(layer.padding),
        relu,
        ceiling,
        layer.groups,
    )


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
