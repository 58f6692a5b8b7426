"""The answer for one photograph, and the network that gave it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weakpoints.engine.paths import Tried
from weakpoints.method.frame import Frame
from weakpoints.networks.device import Host
from weakpoints.options import Precision, ResolvedOptions


@dataclass(frozen=True)
class Model:
    """The network that answers, where it runs, and why it is this one.

    side: of its input, in pixels. entry_sha256: of all that the manifest says of its input and its
    labels, which an answer depends on beside the weights.
    """

    name: str
    architecture: str
    sha256: str
    labels: tuple[str, ...]
    side: int
    precision: Precision
    device: str
    reason: str = ""
    paths: tuple[Tried, ...] = ()
    host: Host | None = None
    entry_sha256: str = ""


@dataclass(frozen=True)
class ClassScore:
    """A class of the network and its probability, in [0, 1]."""

    class_id: int
    label: str
    probability: float


@dataclass(frozen=True)
class Keypoint:
    """A point of the photograph: x right, y down, in pixels.

    (0, 0) is the centre of the top-left pixel. target: index of the class that it explains.
    log_likelihood: the fused map there; where `combine=corners` with the parts of the corner and of
    rarity, less what stronger keypoints nearby take off (see `soft_nms`). confidence: its
    exponential, in (0, 1]. coarse, fine: the two maps there, in standard deviations. covariance: in
    pixels squared, None where the point could not be refined. drop: of the class score, the mean of
    the boxes that cover the point; drop_error: its standard error over them and the colours, None
    where they are one.
    """

    x: float
    y: float
    confidence: float
    log_likelihood: float
    coarse: float
    fine: float
    refined: bool
    target: int
    covariance: tuple[tuple[float, float], tuple[float, float]] | None
    drop: float
    drop_error: float | None


def bounding_box(
    points: Sequence[tuple[float, float]],
) -> tuple[float, float, float, float] | None:
    """x, y, w, h from the first to the last of the points; None where there is none."""
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


@dataclass(frozen=True)
class Maps:
    """Each (S, S) over the network's input.

    fused: log-likelihood, minus infinity in a letterbox's margin. coarse: drop of the class score.
    fine: signal of guided backpropagation, >= 0.
    """

    fused: NDArray[np.float64]
    coarse: NDArray[np.float64]
    fine: NDArray[np.float64]


@dataclass(frozen=True)
class Explained:
    """One class of a photograph.

    target: its index. drops, standard_errors: (P,) of each box, the mean drop of the class score
    over the colours, and its standard error (NaN for one colour). evident: whether any drop is
    above the noise of the colours. keypoints: strongest first.
    """

    target: int
    maps: Maps
    drops: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    evident: bool
    keypoints: tuple[Keypoint, ...]


@dataclass(frozen=True)
class Localization:
    """The answer for one photograph of width x height pixels.

    target: the first class that was asked for. top: classes, the strongest first. explained: each
    class that was asked for. boxes: (P, 4) x, y, w, h of each occluding box, in pixels of the
    network's input. timing_ms: of each stage.
    """

    width: int
    height: int
    target: ClassScore
    top: tuple[ClassScore, ...]
    explained: tuple[Explained, ...]
    boxes: NDArray[np.int64]
    options: ResolvedOptions
    frame: Frame
    timing_ms: Mapping[str, float]

    def of(self, target: int) -> Explained:
        """One class, by its index. Raises KeyError where it was not asked for."""
        return {explained.target: explained for explained in self.explained}[target]

    @property
    def maps(self) -> Maps:
        """Of the first class that was asked for."""
        return self.explained[0].maps

    @property
    def keypoints(self) -> tuple[Keypoint, ...]:
        """Class by class."""
        return tuple(point for explained in self.explained for point in explained.keypoints)

    @property
    def bbox(self) -> tuple[float, float, float, float] | None:
        """x, y, w, h of the keypoints of the first class; None where it has none."""
        return bounding_box([(point.x, point.y) for point in self.explained[0].keypoints])

    @property
    def low_evidence(self) -> bool:
        """For one of the classes, no box changed the score by more than noise."""
        return not all(explained.evident for explained in self.explained)
