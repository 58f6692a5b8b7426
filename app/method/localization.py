"""What is found on a photograph, and what found it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.method.image import Frame
from app.options import Precision, ResolvedOptions


@dataclass(frozen=True)
class Model:
    """What answered: the network and where it runs."""

    name: str
    architecture: str
    sha256: str
    labels: tuple[str, ...]
    side: int
    precision: Precision
    device: str


@dataclass(frozen=True)
class ClassScore:
    class_id: int
    label: str
    probability: float


@dataclass(frozen=True)
class Keypoint:
    """x right, y down, in pixels of the photograph, (0, 0) the centre of its top-left pixel; covariance in pixels squared.

    target: index of the class that it explains. coarse and fine are the maps there, in standard deviations; log_likelihood is their fusion (with the corner's if that is asked for), confidence its exponential.
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
    """Each (S, S) over the network's input; fused is a log-likelihood, -inf in a letterbox's margin."""

    fused: NDArray[np.float64]
    coarse: NDArray[np.float64]
    fine: NDArray[np.float64]


@dataclass(frozen=True)
class Localization:
    """The answer for one photograph of width x height pixels.

    Top classes come strongest first, keypoints class by class and strongest first. target and maps
    are of the first class that was asked for; low_evidence: of any of them.
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
