"""Where the class has evidence that no other class claims.

It makes the fine map follow the class.

The evidence of a class is Grad-CAM's map (Selvaraju et al. 2017): the last map's channels, each
weighted by the class score's mean gradient there, and what is negative clipped. On an averaged last
map with one linear layer it is the class activation map (Zhou et al. 2016), up to a factor.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.method.guided import guided_maps, walk_back
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.network import AveragePool, Linear, Network, Trace
from weakpoints.options import Fine

RIVALS = 20  # the likeliest other classes: with 1,000 classes, five miss the second object
DISTANCE_EXPONENT = 3  # a rival that shares the object hardly counts
PROBABILITY_EXPONENT = 0.2  # of a rival beside the target: an unlikely one hardly counts
SHARE_EXPONENT = 4
FLOOR = 0.05  # of the highest evidence: below it there is none


def fine_maps(
    network: Network,
    trace: Trace,
    targets: Sequence[int],
    *,
    rule: Fine,
    pictures: Sequence[int],
) -> NDArray[np.float64]:
    """(N, S, S), >= 0, of N targets: `guided_maps`; `contrast` is `mirrored` times the contrast."""
    if rule != "contrast":
        return guided_maps(network, trace, targets, rule=rule, pictures=pictures)
    contrasts = [
        class_contrast(network, trace.of([i]), target)
        for i, target in zip(pictures, targets, strict=True)
    ]
    mirrored = guided_maps(network, trace, targets, rule="mirrored", pictures=pictures)
    return mirrored * np.stack(contrasts)


def class_contrast(network: Network, trace: Trace, target: int) -> NDArray[np.float64]:
    """(S, S) in (0, 1]: the share that the target has in the evidence of a single picture.

    It is taken to the power SHARE_EXPONENT. With one object it is near 1 all over it. Where a
    likely class claims another place it is near 0 there.
    """
    if _last_map(network, trace) is None:
        return np.ones(trace.x.shape[2:])  # nothing tells where a class has its evidence
    rivals = [c for c in trace.ranking if c != target][:RIVALS]
    evidence = class_evidence(network, trace, [target, *rivals]).double().cpu().numpy()
    likely = likelihoods(trace, target, rivals) ** PROBABILITY_EXPONENT
    mine = share(evidence[0], likely[:, None, None] * evidence[1:])
    side = trace.x.shape[-1]
    return np.asarray(cv2.resize(mine, (side, side), interpolation=cv2.INTER_LINEAR))


def likelihoods(trace: Trace, target: int, rivals: Sequence[int]) -> NDArray[np.float64]:
    """(R,) in (0, 1]: how likely each rival is beside the target, 1 where it is the likelier."""
    behind = trace.logits[0, list(rivals)] - trace.logits[0, target]
    return np.asarray(np.exp(np.minimum(behind.double().cpu().numpy(), 0)))


@torch.inference_mode()
def class_evidence(network: Network, trace: Trace, classes: Sequence[int]) -> Tensor:
    """(M, h, w), >= 0: Grad-CAM of each class on the last map of a single picture.

    All classes in one walk.
    """
    last = _last_map(network, trace)
    if last is None:
        raise ValueError("a network without maps has no evidence in places")
    head, features = network.layers[last + 1 :], trace.activations[last]
    signal = torch.zeros(len(classes), trace.logits.shape[1]).to(trace.logits)
    signal[range(len(classes)), list(classes)] = 1
    gradient = walk_back(head, signal, features, trace.activations[last + 1 :], guided=False)
    weights = gradient.mean((2, 3))
    return torch.einsum("mk,khw->mhw", weights, features[0]).clamp(min=0)


def share(target: NDArray[np.float64], rivals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(h, w) in (0, 1] of the target's evidence (h, w) and the rivals' (R, h, w).

    A rival counts by (1 - s)^DISTANCE_EXPONENT with s the cosine of its evidence and the
    target's: a class that shares the object (a motorbike and a wheelchair) does not compete with
    it, one that lies elsewhere does.
    """
    ours, theirs = target.ravel(), rivals.reshape(len(rivals), target.size)
    lengths = np.linalg.norm(ours) * np.linalg.norm(theirs, axis=1)
    cosine = np.clip(theirs @ ours / np.maximum(lengths, 1e-12), 0, 1)
    against = ((1 - cosine) ** DISTANCE_EXPONENT)[:, None] * theirs
    strongest = against.max(0, initial=0.0).reshape(target.shape)
    least = FLOOR * max(float(target.max()), float(strongest.max()), 1e-12)
    return np.asarray(((target + least) / (target + strongest + least)) ** SHARE_EXPONENT)


def _last_map(network: Network, trace: Trace) -> int | None:
    """Which layer's output is the last map; None where there is none.

    It is the one before the averaging and the fully connected layers.
    """
    layers = network.layers
    if any(isinstance(layer, Segment) for layer in layers):
        # a graph's averaging is inside a segment: the last square map of more than one pixel
        shapes = [activation.shape for activation in trace.activations]
        maps = [i for i, s in enumerate(shapes) if len(s) == 4 and s[2] == s[3] > 1]
    else:
        maps = [i for i, layer in enumerate(layers) if not isinstance(layer, AveragePool | Linear)]
    return max(maps, default=None)
