"""EfficientNet-Lite (Google 2020).

It is EfficientNet (Tan and Le 2019) with ReLU6 and without squeeze-and-excite. Parameters are named
as in the published weights, which were converted from TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Stage:
    """Blocks in a row; the first has the stride, the others have 1."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


LITE0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind an axis of `length` pixels, as TensorFlow's SAME puts them."""
    outputs = -(-length // stride)
    total = max(0, (outputs - 1) * stride + kernel - length)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's SAME."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def pads(self, side: int) -> tuple[int, int]:
        """Zeros before and behind each axis of a side x side map."""
        return same_padding(side, self.kernel_size[0], self.stride[0])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) -> (N, K, ceil(S / stride), ceil(S / stride))"""
        return super().forward(F.pad(x, 2 * self.pads(x.shape[-1])))


class Block(nn.Module):
    """An inverted residual: widened, convolved channel by channel, narrowed.

    The input is added where the output has its shape.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        self._expand_conv = SameConv2d(inputs, wide, 1) if expansion > 1 else None
        self._bn0 = _norm(wide) if expansion > 1 else None
        self._depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = SameConv2d(wide, outputs, 1)
        self._bn2 = _norm(outputs)
        self._relu = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x
        if self._expand_conv is not None and self._bn0 is not None:
            y = self._relu(self._bn0(self._expand_conv(y)))
        y = self._relu(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    """For side x side pictures: the side decides on which side of a map SAME puts its zeros."""

    def __init__(
        self,
        side: int,
        classes: int,
        stages: Sequence[Stage] = LITE0,
        stem: int = 32,
        head: int = 1280,
    ) -> None:
        super().__init__()
        self.side = side
        self._conv_stem = SameConv2d(3, stem, 3, 2)
        self._bn0 = _norm(stem)
        blocks, inputs = [], stem
        for stage in stages:
            for i in range(stage.repeats):
                stride = stage.stride if i == 0 else 1
                blocks.append(Block(inputs, stage.channels, stage.kernel, stride, stage.expansion))
                inputs = stage.channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv2d(inputs, head, 1)
        self._bn1 = _norm(head)
        self._fc = nn.Linear(head, classes)
        self._relu = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, C)"""
        x = self._relu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = self._relu(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(x.mean((2, 3)))
        return logits


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)  # TensorFlow's
