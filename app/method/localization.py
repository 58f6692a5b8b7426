"""The answer for one photograph, and the network that gave it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.incremental.paths import Tried
from app.method.image import Frame
from app.options import Precision, ResolvedOptions


@dataclass(frozen=True)
class Model:
    """The network that answers, where it runs, and why it is this one.

    side: of its input, in pixels.
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
    log_likelihood: the fused map there, with the
    corner's part where `combine=corners`; confidence: its exponential, in (0, 1]. coarse, fine: the
    two maps there, in standard deviations. covariance: in pixels squared, None where the point
    could not be refined.
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
class Localization:
    """The answer for one photograph of width x height pixels.

    Top classes come strongest first, keypoints class by class and strongest first. target and maps
    are of the first class that was asked for. low_evidence: for one of the classes, no box changed
    the score by more than noise. timing_ms: of each stage.
    """

    width: int
    height: int
    target: ClassScore
    top: tuple[ClassScore, ...]
    keypoints: tuple[Keypoint, ...]
    low_evidence: bool
    options: ResolvedOptions
    maps: Maps
    frame: Frame
    timing_ms: Mapping[str, float]
