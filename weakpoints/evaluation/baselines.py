"""What the keypoints have to beat.

Points that know nothing, corner detectors that know no class, and a network that learnt nothing.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from weakpoints.engine.engine import Incremental
from weakpoints.evaluation.arrays import Array, Image
from weakpoints.method.detector import Detector
from weakpoints.method.keypoints import local_maxima
from weakpoints.method.suppression import soft_nms
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.network import Conv, Layer, Linear, Network, Residual

Rectangle = tuple[float, float, float, float]
LEAST = 1e-9  # share of the highest score: some are 0 or less


@dataclass(frozen=True)
class Points:
    """xy: (N, 2) in pixels of the photograph, strongest first; score: (N,), higher is stronger."""

    xy: Array
    score: Array

    @classmethod
    def of(cls, rows: list[list[float]]) -> "Points":
        """From x, y, score of each."""
        table = np.array(rows, float).reshape(-1, 3)
        return cls(table[:, :2], table[:, 2])

    def rows(self) -> list[list[float]]:
        """The inverse of `of`."""
        return [
            [x, y, score]
            for (x, y), score in zip(self.xy.tolist(), self.score.tolist(), strict=True)
        ]

    def first(self, count: int) -> "Points":
        return Points(self.xy[:count], self.score[:count])

    def within(self, box: Rectangle) -> "Points":
        """Those inside x, y, w, h."""
        x, y, w, h = box
        kept = ((self.xy >= (x - 0.5, y - 0.5)) & (self.xy <= (x + w - 0.5, y + h - 0.5))).all(1)
        return Points(self.xy[kept], self.score[kept])


def random_points(box: Rectangle, count: int, rng: np.random.Generator) -> Points:
    """Uniform over x, y, w, h."""
    x, y, w, h = box
    return Points(rng.random((count, 2)) * (w, h) + (x - 0.5, y - 0.5), rng.random(count))


def grid_points(box: Rectangle, count: int) -> Points:
    """Rows of equal height, as square as can be, the points evenly along each row."""
    x, y, w, h = box
    rows = min(max(1, round((count * h / w) ** 0.5)), max(count, 1))
    per_row = [len(part) for part in np.array_split(np.arange(count), rows)]
    xy = [
        ((i + 0.5) / n * w, (row + 0.5) / rows * h)
        for row, n in enumerate(per_row)
        for i in range(n)
    ]
    return Points(np.add(np.array(xy).reshape(-1, 2), (x - 0.5, y - 0.5)), np.zeros(count))


def shi_tomasi(image: Image, radius: float) -> Points:
    """Shi and Tomasi 1994: the smaller eigenvalue of the structure tensor."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    strength = cv2.cornerMinEigenVal(grey, 3).astype(np.float64)
    peaks = local_maxima(strength, 1)
    peaks = peaks[strength[peaks[:, 1], peaks[:, 0]] > 1e-4 * strength.max()][:1000]
    return suppress(peaks.astype(float), strength[peaks[:, 1], peaks[:, 0]], radius)


def orb(image: Image, radius: float) -> Points:
    """Rublee et al. 2011, by its Harris response."""
    return _features(
        cv2.ORB.create(nfeatures=2000, fastThreshold=5, edgeThreshold=15), image, radius
    )


def sift(image: Image, radius: float) -> Points:
    """Lowe 2004, by the contrast of the blob."""
    return _features(cv2.SIFT.create(), image, radius)


CORNERS: dict[str, Callable[[Image, float], Points]] = {
    "shi_tomasi": shi_tomasi,
    "orb": orb,
    "sift": sift,
}


def suppress(xy: Array, score: Array, radius: float) -> Points:
    """Greedy: the strongest first, none within the square of +-radius around one that is kept.

    The same for every method.
    """
    order = np.argsort(-score, kind="stable")
    kept: list[int] = []
    for i in order:
        if not kept or (np.abs(xy[kept] - xy[i]).max(1) > radius).all():
            kept.append(int(i))
    return Points(xy[kept], score[kept])


def spread(points: Points, sigma: float) -> Points:
    """The same points as `soft_nms` takes them, by the logarithm of their score over the highest.

    sigma: in pixels of the photograph. score: the logarithm, lowered.
    """
    shares = np.maximum(points.score / max(points.score.max(initial=0.0), 1e-12), LEAST)
    taken, likelihoods = soft_nms(points.xy, np.log(shares), sigma, len(points.xy))
    return Points(points.xy[taken], likelihoods)


def _features(finder: cv2.Feature2D, image: Image, radius: float) -> Points:
    found = finder.detect(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    return suppress(
        np.array([p.pt for p in found], float).reshape(-1, 2),
        np.array([p.response for p in found], float),
        radius,
    )


def random_weights(network: Network, top: int | None = None) -> Network:
    """The same layers, with weights drawn anew: He et al. 2015, without biases.

    top: redraw only the last `top` layers that have weights. None: all.
    """
    rng = torch.Generator().manual_seed(0)
    kept = itertools.repeat(True, 0 if top is None else depth(network.layers) - top)

    def drawn(weight: Tensor) -> Tensor:
        deviation = (2 / weight[0].numel()) ** 0.5
        made: Tensor = torch.randn(weight.shape, generator=rng) * deviation
        return made.to(weight)

    def redraw(layer: Layer) -> Layer:
        match layer:
            case Conv() | Linear() if not next(kept, False):
                weight = drawn(layer.weight)
                return replace(layer, weight=weight, bias=weight.new_zeros(len(weight)))
            case Segment():
                tensors = dict(layer.tensors)
                for name, bias in _weights(layer):
                    if not next(kept, False):
                        tensors[name] = drawn(tensors[name])
                        tensors.update({bias: torch.zeros_like(tensors[bias])} if bias else {})
                return replace(layer, tensors=tensors)
            case Residual():
                return replace(
                    layer,
                    main=tuple(map(redraw, layer.main)),
                    shortcut=tuple(map(redraw, layer.shortcut)),
                )
            case _:
                return layer

    return Network(tuple(map(redraw, network.layers)))


def depth(layers: tuple[Layer, ...]) -> int:
    """How many of them, and of those inside blocks, have weights."""
    return sum(map(_depth, layers))


def _depth(layer: Layer) -> int:
    match layer:
        case Residual():
            return depth(layer.main + layer.shortcut)
        case Segment():
            return len(_weights(layer))
    return int(isinstance(layer, Conv | Linear))


def _weights(segment: Segment) -> list[tuple[str, str | None]]:
    """The names of weight and bias of its convolutions and linear layers, in order."""
    return [
        (names[0], names[1] if len(names) > 1 else None)
        for operation in segment.operations
        if operation.family in ("conv2d", "linear") and (names := operation.parameters)
    ]


def reweighted(detector: Detector, top: int | None = None) -> Detector:
    """The same detector on `random_weights` of its network."""
    return replace(detector, occluder=Incremental(random_weights(detector.network, top)))
