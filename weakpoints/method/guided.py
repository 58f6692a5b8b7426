"""The fine map: which pixels drive the class, by guided backpropagation.

Paper: "Weakly supervised keypoint detection", section III; Springenberg et al. (2014).

The table of layers is walked backwards. At each ReLU with output f, the incoming signal R becomes
(f > 0) * (R > 0) * R. The signal starts as the gradient of the class's log-odds. After
normalisation that is the gradient of the softmax, but it does not underflow.
A ReLU6 passes the signal where its derivative is 1 likewise: (0 < f < 6) * (R > 0) * R.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.network import (
    AveragePool,
    Conv,
    Layer,
    Linear,
    MaxPool,
    Network,
    Residual,
    Trace,
    outputs,
    passing,
)
from weakpoints.options import Fine


@torch.inference_mode()
def guided_maps(
    network: Network,
    trace: Trace,
    targets: Sequence[int],
    *,
    rule: Fine,
    pictures: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """(N, S, S) maps >= 0 of N targets: the L2 norm over RGB of the input's signal.

    targets: classes. pictures: which of the trace's pictures each target is about; picture i for
    target i if not given. rule: `guided` clips negative signals, at ReLUs and at the
    input. `mirrored` is the mean of `guided` and of the same on the mirrored picture, mirrored
    back: it has less noise, and left and right count alike. `gradient` is the plain gradient, for
    comparison.
    """
    if rule == "mirrored":
        one = guided_maps(network, trace, targets, rule="guided", pictures=pictures)
        flipped = network.trace(trace.x.flip(-1))
        other = guided_maps(network, flipped, targets, rule="guided", pictures=pictures)
        return (one + other[:, :, ::-1]) / 2
    chosen = list(range(len(trace.x)) if pictures is None else pictures)
    if len(set(chosen)) == len(chosen):
        seen = trace if chosen == list(range(len(trace.x))) else trace.of(chosen)
        return _walked(network, seen, targets, rule)
    maps = np.empty((len(targets), *trace.x.shape[2:]))
    for picture in set(chosen):  # whose targets share all that does not depend on the class
        mine = [i for i, each in enumerate(chosen) if each == picture]
        maps[mine] = _walked(network, trace.of([picture]), [targets[i] for i in mine], rule)
    return maps


def _walked(
    network: Network, trace: Trace, targets: Sequence[int], rule: Fine
) -> NDArray[np.float64]:
    """(N, S, S) for a target each of the trace's N pictures, or N targets of a single picture."""
    signal = walk_back(
        network.layers,
        log_odds_gradient(trace.logits, targets),
        trace.x,
        trace.activations,
        guided=rule == "guided",
    )
    if rule == "guided":
        signal = signal.clamp(min=0)
    return np.asarray(signal.double().square().sum(1).sqrt().cpu())


def log_odds_gradient(logits: Tensor, targets: Sequence[int]) -> Tensor:
    """(N, C): d(z_c - logsumexp of the others)/dz = e_c - softmax over the others.

    logits: (N, C), or (1, C) for all targets.
    """
    chosen = F.one_hot(torch.tensor(targets, device=logits.device), logits.shape[1])
    others = logits.expand_as(chosen).masked_fill(chosen.bool(), -torch.inf)
    return chosen - others.softmax(1)


def walk_back(
    layers: tuple[Layer, ...],
    signal: Tensor,
    x: Tensor,
    activations: tuple[Tensor, ...],
    *,
    guided: bool,
) -> Tensor:
    """The signal at the input `x` (N, ...), from the N signals behind the last layer.

    x and activations may be those of a single picture, (1, ...), for all N signals. activations[i]
    is the output of layer i, behind its ReLU. guided: clip negative signals.
    """
    if not layers:  # the shortcut of a block that is the identity
        return signal
    for layer, before, after in zip(
        reversed(layers), (*activations[-2::-1], x), reversed(activations), strict=True
    ):
        if layer.relu:
            signal = signal * passing(after, layer)
            if guided:
                signal = signal.clamp(min=0)
        signal = _transpose(layer, signal.reshape(-1, *after.shape[1:]), before, guided)
    return signal


def _transpose(layer: Layer, signal: Tensor, x: Tensor, guided: bool) -> Tensor:
    """The signal before the layer's linear part, whose input was x."""
    n = len(signal)
    match layer:
        case Segment():
            return layer.transpose(signal, x, guided=guided)
        case Conv():
            _, c, height, width = x.shape
            padded: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
                (n, c, height + layer.extra, width + layer.extra),
                layer.weight,
                signal,
                layer.stride,
                layer.padding,
                groups=layer.groups,
            )
            return padded[..., :height, :width]
        case MaxPool():
            _, winners = F.max_pool2d(
                x, layer.kernel, layer.stride, layer.padding, return_indices=True
            )
            empty = x.new_zeros((n, *x.shape[1:])).flatten(2)
            places = winners.flatten(2).expand(n, -1, -1)
            return empty.scatter_add_(2, places, signal.flatten(2)).view(n, *x.shape[1:])
        case AveragePool():
            rows, columns = (
                F.adaptive_avg_pool1d(torch.eye(length).to(x)[None], layer.side)[0]
                for length in x.shape[2:]
            )
            return rows @ signal @ columns.T
        case Linear():
            flat = signal @ layer.weight
            if x.dim() == 2:
                return flat
            _, c, height, width = x.shape
            return flat.view(n, height, width, c).permute(0, 3, 1, 2)
        case Residual():
            branches = (
                (branch, tuple(outputs(branch, x))) for branch in (layer.main, layer.shortcut)
            )
            main, shortcut = (
                walk_back(branch, signal, x, inner, guided=guided) for branch, inner in branches
            )
            return main + shortcut
