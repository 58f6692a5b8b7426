"""What half precision would change, on a machine without a GPU: `python -m benchmarks.half --images
DIR`.

A GPU's float16 product multiplies rounded numbers and adds in float32. So do the engine's float32
kernels when their weights, their inputs and what they put out are rounded to the digits of float16
(or bfloat16), which is much faster than a CPU's own half precision. Range is not looked at: the
numbers stay float32.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from app.settings import Settings
from benchmarks.precision import precision_fidelity
from benchmarks.record import record
from weakpoints.engine.engine import Incremental
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.spans import Corners, Spans
from weakpoints.engine.tiles.cuda_graphs import Recorder
from weakpoints.engine.tiles.form import TilesForm
from weakpoints.engine.tiles.kernels import Windowed
from weakpoints.evaluation.photographs import sample
from weakpoints.loading import load_detector
from weakpoints.networks.network import Layer, MaxPool, Network, Trace, converted
from weakpoints.options import Options
from weakpoints.progress import Progress, no_progress


@dataclass(frozen=True, eq=False)
class Rounded:
    kernel: Windowed
    dtype: torch.dtype

    @property
    def layer(self) -> Layer:
        return self.kernel.layer

    def side(self, y: Spans, x: Spans) -> int:
        return self.kernel.side(y, x)

    def __call__(self, table: Tensor, index: Tensor, out: Tensor, scratch: Scratch) -> None:
        self.kernel(table, index, out, scratch)
        if not isinstance(self.layer, MaxPool):
            out.copy_(out.to(self.dtype))


class RoundedIncremental(Incremental):
    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        rounded = converted(converted(network.layers[:-1], dtype), torch.float32)
        super().__init__(
            Network((*rounded, network.layers[-1])), recorder=Recorder(lambda run: run)
        )
        assert isinstance(self.form, TilesForm)
        self.network, self._rounding = network, dtype
        kernels: Any = self.form.kernels
        self.form.kernels = tuple(Rounded(kernel, dtype) for kernel in kernels)  # type: ignore[misc]

    def logits(
        self,
        trace: Trace,
        corners: Corners,
        box: int,
        colours: Tensor,
        progress: Progress = no_progress,
    ) -> Tensor:
        x, *activations = (
            activation.to(self._rounding).float() for activation in (trace.x, *trace.activations)
        )
        return super().logits(
            Trace(x, tuple(activations)), corners, box, colours.to(self._rounding).float(), progress
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=20)
    args = parser.parse_args()
    exact, paths = (
        load_detector(Settings().manifest, "bundled", "cpu"),
        sample(args.images, args.limit),
    )
    figures: dict[str, object] = {}
    for name in ("float16", "bfloat16"):
        other = replace(exact, occluder=RoundedIncremental(exact.network, getattr(torch, name)))
        figures[name] = precision_fidelity(exact, other, paths, Options(), (), tqdm) | {
            "precision": f"{name}, emulated in float32"
        }
    record("half", figures)


if __name__ == "__main__":
    main()
