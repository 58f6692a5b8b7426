"""The method written again, slowly and in the words of its definitions.

Every fast path is compared with this.
"""

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weakpoints.networks.modules.efficientnet_lite import EfficientNetLite


def occlusion_drops(
    module: nn.Module,
    x: Tensor,
    target: int,
    starts: list[int],
    box: int,
    colours: Tensor,
    score: str,
) -> NDArray[np.float64]:
    """(R, P) drops: mask the picture, run the whole network, one box at a time.

    colours: (R, P, 3).
    """
    clean = score_of(module(x)[0], target, score)
    drops = []
    for palette in colours:
        row = []
        corners = [(top, left) for top in starts for left in starts]
        for (top, left), colour in zip(corners, palette, strict=True):
            masked = x.clone()
            for channel in range(3):
                for y in range(top, top + box):
                    for px in range(left, left + box):
                        masked[0, channel, y, px] = colour[channel]
            row.append(max(clean - score_of(module(masked)[0], target, score), 0.0))
        drops.append(row)
    return np.array(drops)


def score_of(logits: Tensor, target: int, score: str) -> float:
    z = [float(value) for value in logits]
    if score == "logit":
        return z[target]
    rest = sum(math.exp(value) for i, value in enumerate(z) if i != target)
    if score == "probability":
        return math.exp(z[target]) / (math.exp(z[target]) + rest)
    return z[target] - math.log(rest)


def coverage_mean(
    drops: NDArray[np.float64], starts: list[int], box: int, side: int
) -> NDArray[np.float64]:
    """Pixel by pixel, the mean over the boxes that cover it."""
    result = np.empty((side, side))
    for y in range(side):
        for x in range(side):
            over = [
                drops[i, j]
                for i, top in enumerate(starts)
                for j, left in enumerate(starts)
                if top <= y < top + box and left <= x < left + box
            ]
            result[y, x] = sum(over) / len(over)
    return result


def coverage_error(
    drops: NDArray[np.float64], starts: list[int], box: int, side: int
) -> NDArray[np.float64]:
    """Pixel by pixel, the standard error of the mean of what covers it in any colour."""
    result = np.full((side, side), np.nan)
    for y in range(side):
        for x in range(side):
            over = [
                of_colour[i, j]
                for of_colour in drops
                for i, top in enumerate(starts)
                for j, left in enumerate(starts)
                if top <= y < top + box and left <= x < left + box
            ]
            if len(over) > 1:
                mean = sum(over) / len(over)
                variance = sum((drop - mean) ** 2 for drop in over) / (len(over) - 1)
                result[y, x] = math.sqrt(variance / len(over))
    return result


class GuidedReLU(torch.autograd.Function):
    """Springenberg et al. 2014: R_l = (f_l > 0) (R_{l+1} > 0) R_{l+1}."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp(min=0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return (y > 0) * (signal > 0) * signal


class GuidedReLU6(torch.autograd.Function):
    """The same where the activation stops at 6: R_l = (0 < f_l < 6) (R_{l+1} > 0) R_{l+1}."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp(0, 6)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return (y > 0) * (y < 6) * (signal > 0) * signal


class GuidedLayer(nn.Module):
    def __init__(self, rule: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        return self.rule.apply(x)


def guided(module: nn.Module, x: Tensor, target: int) -> NDArray[np.float64]:
    """Autograd through a network whose every ReLU is the guided one."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU | nn.ReLU6):
                rule = GuidedReLU if isinstance(child, nn.ReLU) else GuidedReLU6
                setattr(parent, name, GuidedLayer(rule))
    return np.linalg.norm(np.maximum(input_gradient(module, x, target), 0), axis=0)


def input_gradient(module: nn.Module, x: Tensor, target: int) -> NDArray[np.float64]:
    """(3, S, S): autograd of the log-odds of the target."""
    x = x.clone().requires_grad_(True)
    logits = module(x)[0]
    others = torch.cat([logits[:target], logits[target + 1 :]])
    (gradient,) = torch.autograd.grad(logits[target] - others.logsumexp(0), x)
    return gradient[0].numpy()


def grad_cam(module: nn.Module, x: Tensor, target: int) -> NDArray[np.float64]:
    """(h, w): Selvaraju et al. 2017, equations 1 and 2, on the map before the global average or the
    classifier.
    """
    pool: Callable[[Tensor], Tensor] = getattr(module, "avgpool", nn.AdaptiveAvgPool2d(1))
    body: list[Any]
    head: Any
    if isinstance(module, EfficientNetLite):
        stem, last = (module._conv_stem, module._bn0), (module._conv_head, module._bn1)
        body, head = [*stem, module._relu, *module._blocks, *last, module._relu], module._fc
    elif hasattr(module, "features"):
        body, head = [module.features], module.classifier
    else:
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
        body, head = [getattr(module, name) for name in names], module.fc
    features = nn.Sequential(*body)(x).detach().clone().requires_grad_(True)
    score = head(pool(features).flatten(1))[0, target]
    (gradient,) = torch.autograd.grad(score, features)
    weights = gradient[0].mean((1, 2))
    cam = (weights[:, None, None] * features[0]).sum(0).clamp(min=0)
    return cam.detach().numpy()


def local_maxima(score: NDArray[np.float64], radius: int) -> list[tuple[int, int]]:
    """(x, y): nothing in the square around comes before it in order of (score falling, y, x)."""
    height, width = score.shape
    found = []
    for y in range(height):
        for x in range(width):
            mine = (-score[y, x], y, x)
            rivals = [
                (-score[v, u], v, u)
                for v in range(max(0, y - radius), min(height, y + radius + 1))
                for u in range(max(0, x - radius), min(width, x + radius + 1))
            ]
            if np.isfinite(score[y, x]) and min(rivals) == mine:
                found.append(mine)
    return [(x, y) for _, y, x in sorted(found)]


def opencv_corner(
    grey: NDArray[np.uint8], start: tuple[float, float], half: int
) -> tuple[float, float]:
    """One step of cv2.cornerSubPix."""
    points = np.array([[start]], np.float32)
    cv2.cornerSubPix(grey, points, (half, half), (-1, -1), (cv2.TERM_CRITERIA_MAX_ITER, 1, 0.0))
    return float(points[0, 0, 0]), float(points[0, 0, 1])


def most_pairs(near: np.ndarray) -> int:
    """The most pairs that can be made of a (N, M) table of who may go with whom, by trying
    everything.
    """
    if not len(near):
        return 0
    with_first = [1 + most_pairs(np.delete(near[1:], j, 1)) for j in np.flatnonzero(near[0])]
    return max([most_pairs(near[1:]), *with_first])


def efficientnet_lite(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The toy of `conftest` in inference.

    Strides by hand, TensorFlow's padding as its documents say.
    """

    def normalised(y: Tensor, name: str) -> Tensor:
        mean, var, gain, shift = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / (var + 1e-3).sqrt() * gain + shift

    def convolved(y: Tensor, name: str, stride: int) -> Tensor:
        weight, side = state[f"{name}.weight"], y.shape[-1]
        kernel = weight.shape[-1]
        total = max(kernel - (side % stride or stride), 0)
        low = total // 2
        padded = torch.zeros(*y.shape[:2], side + total, side + total, dtype=y.dtype)
        padded[..., low : low + side, low : low + side] = y
        groups = y.shape[1] // weight.shape[1]
        return nn.functional.conv2d(padded, weight, None, stride, groups=groups)

    y = normalised(convolved(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
    for i, stride in enumerate((1, 2, 1, 2, 1)):
        block, inputs = f"_blocks.{i}.", y
        if f"{block}_expand_conv.weight" in state:
            y = normalised(convolved(y, f"{block}_expand_conv", 1), f"{block}_bn0").clamp(0, 6)
        y = normalised(convolved(y, f"{block}_depthwise_conv", stride), f"{block}_bn1").clamp(0, 6)
        y = normalised(convolved(y, f"{block}_project_conv", 1), f"{block}_bn2")
        y = y + inputs if y.shape == inputs.shape else y
    y = normalised(convolved(y, "_conv_head", 1), "_bn1").clamp(0, 6)
    return y.mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


def soft_nms(
    points: NDArray[np.float64], likelihoods: NDArray[np.float64], sigma: float, strength: float
) -> list[tuple[int, float]]:
    """All points, one by one: each has lost what every point taken before it takes off."""
    taken: list[tuple[int, float]] = []
    for _ in points:
        best, highest = -1, -math.inf
        for i, (x, y) in enumerate(points):
            if i in (index for index, _ in taken):
                continue
            value = float(likelihoods[i])
            for index, _ in taken:
                square = (x - points[index][0]) ** 2 + (y - points[index][1]) ** 2
                value -= strength * math.exp(-square / (2 * sigma**2))
            if best < 0 or value > highest:
                best, highest = i, value
        taken.append((best, highest))
    return taken
