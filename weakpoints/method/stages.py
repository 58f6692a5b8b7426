"""What the stages of the method hand on: from any thread to the device, and back.

prepare -> Prepared -> forward_backward -> NetworkPass -> occlude -> Evidence -> explain
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.method.frame import Frame
from weakpoints.method.localization import ClassScore
from weakpoints.method.occlusion import Occlusion
from weakpoints.method.peaks import Scene
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.network import Trace
from weakpoints.options import ResolvedOptions


@dataclass(frozen=True)
class Prepared:
    """A photograph that waits for the device, without its full-size pixels.

    x: (1, 3, S, S), the normalised input. fills: (R, places, 3) normalised colours of the boxes.
    fills and scene are None where the network's classes alone are asked for. layers: those whose
    activations are wanted, too.
    """

    x: Tensor
    frame: Frame
    options: ResolvedOptions
    clock: Stopwatch
    fills: Tensor | None = None
    scene: Scene | None = None
    layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class NetworkPass:
    """One photograph's part of a forward and a backward pass.

    trace: its forward pass. targets: the T classes to explain, none where no map is asked for.
    fine: (T, S, S), see `fine_maps`.
    """

    trace: Trace
    targets: tuple[int, ...]
    fine: NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """All that the network says of one photograph, in numpy: the device is free again.

    top: the likeliest classes, the likeliest first. targets: the T classes to explain.
    fine: (T, S, S). coarse: of each target. rarity: (S, S), see `log_rarity`; None where it is
    not asked for. activations: (C, n, n) float32 of each wanted layer, on
    the CPU.
    """

    top: tuple[ClassScore, ...]
    targets: tuple[ClassScore, ...]
    fine: NDArray[np.float64]
    coarse: tuple[Occlusion, ...]
    rarity: NDArray[np.float64] | None = None
    activations: tuple[Tensor, ...] = ()
