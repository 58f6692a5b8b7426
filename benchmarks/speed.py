"""How long the occlusion of one picture takes, against what people use today.

All in one run on one machine.
"""

import copy
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import exported
from benchmarks.machine import busy_loop, matmul_rate, memory, reset_device_peak, seconds
from benchmarks.modules import load_module, network_of, skeleton
from benchmarks.rivals import best_captum, best_forward, captum, full
from weakpoints.engine.engine import Incremental
from weakpoints.errors import BadOption
from weakpoints.method.occlusion import positions
from weakpoints.networks.device import processor
from weakpoints.networks.manifest import Entry
from weakpoints.networks.network import Network
from weakpoints.networks.precision import arithmetic, tuned, windows
from weakpoints.options import Precision


@dataclass(frozen=True)
class SpeedSetting:
    """Boxes of `box` pixels every `step` over a picture of `side`."""

    side: int
    box: int
    step: int

    @property
    def corners(self) -> tuple[tuple[int, int], ...]:
        starts = positions(self.side, self.box, self.step)
        return tuple((y, x) for y in starts for x in starts)


@dataclass(frozen=True)
class Contestant:
    """settings: what was chosen for it, as it is told."""

    name: str
    run: Callable[[], object]
    settings: dict[str, object]


@dataclass
class Measured:
    """seconds: of each round; peak: bytes, None where the machine can't say."""

    seconds: list[float] = field(default_factory=list)
    peak: int | None = None


def speed_of(
    entry: Entry,
    limit: int,
    against: Sequence[str],
    *,
    rounds: int,
    device: str,
    precision: Precision,
    neighbour: bool = False,
) -> dict[str, Any]:
    """`compare` for a network of the manifest.

    Where its own weights are not here, they are random: speed does not depend on them.
    """
    trained = entry.path.exists()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = load_module(entry) if trained else skeleton(entry).eval().requires_grad_(False)
    figures = compare(
        module,
        speed_setting(entry.side, limit),
        against,
        rounds=rounds,
        device=device,
        precision=precision,
        neighbour=neighbour,
    )
    return {"network": entry.name, "weights": "trained" if trained else "random", **figures}


def speed_setting(side: int, limit: int) -> SpeedSetting:
    """The default box, a fourteenth of the side, at the finest step that `limit` allows.

    That is the step that asks for no more than `limit` positions. Raises BadOption where there is
    none.
    """
    box = side // 14
    for step in range(max(box // 2, 1), box + 1):
        tried = SpeedSetting(side, box, step)
        if len(tried.corners) <= limit:
            return tried
    raise BadOption(
        f"positions is {limit}; boxes that leave no gap are {len(tried.corners)} or more",
        option="positions",
        limit=len(tried.corners),
        actual=limit,
    )


def compare(
    module: nn.Module,
    where: SpeedSetting,
    against: Sequence[str],
    *,
    rounds: int,
    device: str,
    precision: Precision,
    neighbour: bool = False,
) -> dict[str, Any]:
    """Seconds a picture, taken in turn after a warm-up: medians, and the spread over the rounds.

    The spread is the largest less the smallest. All are in the same precision.

    ours: `Incremental`.
    full: every masked picture through the whole network, in the best batch, compiled where that
    helps.
    captum_default, captum_best: Captum's Occlusion, one picture a pass, and as many as serve it
    best.
    neighbour: whether each is timed again while another process keeps one core busy.
    openvino, onnxruntime: whole passes of the exported network, on a CPU in float32.
    """
    with arithmetic(device, precision), tuned(device):  # the rivals, too
        return _compare_in_rounds(module, where, against, rounds, device, precision, neighbour)


def _compare_in_rounds(
    module: nn.Module,
    where: SpeedSetting,
    against: Sequence[str],
    rounds: int,
    device: str,
    precision: Precision,
    neighbour: bool,
) -> dict[str, Any]:
    copied = copy.deepcopy(module).to(device).to(memory_format=torch.channels_last)
    network = network_of(copied, where.side)
    engine = Incremental(network, dtype=windows(precision))
    x = torch.randn(1, 3, where.side, where.side, generator=torch.Generator().manual_seed(0))
    x = x.to(device, engine.dtype)
    colours = torch.zeros(len(where.corners), 3, device=device)

    def ours() -> Tensor:
        return engine.logits(network.trace(x), where.corners, where.box, colours)

    module = module.to(device, engine.dtype).to(memory_format=torch.channels_last)
    contestants = [Contestant("ours", ours, {}), *_rivals(module, x, where, against)]
    engine.compile()
    for _ in range(3 if device == "cuda" else 1):  # a GPU records when it sees a chunk again
        ours()  # the others were warmed up when their batch was chosen
    measured = _in_turn(contestants, rounds, device)
    with busy_loop() if neighbour else nullcontext():
        beside = _in_turn(contestants, rounds if neighbour else 0, device)
    work, rate = products(network, where), matmul_rate(x)
    least = {name: statistics.median(contestant.seconds) for name, contestant in measured.items()}
    saving = work["full"] / work["windows"]
    return {
        **{
            contestant.name: {
                "seconds_per_image": least[contestant.name],
                "spread": max(measured[contestant.name].seconds)
                - min(measured[contestant.name].seconds),
                "positions": len(where.corners),
                "all_seconds": measured[contestant.name].seconds,
                "peak_memory_bytes": measured[contestant.name].peak,
                "ratio": least[contestant.name] / least["ours"],
                "seconds_beside_a_loop": (
                    statistics.median(beside[contestant.name].seconds) if neighbour else None
                ),
                **contestant.settings,
            }
            for contestant in contestants
        },
        **asdict(where),
        "device": device,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "form": engine.form.name,
        "products": work,
        "matmul_products_per_second": rate,
        "ours_products_per_second": work["computed"] / least["ours"],
        "share_of_products": work["computed"] / rate / least["ours"],
        "theoretical_saving": saving,
        "saving_turned_into_time": (
            least["full"] / least["ours"] / saving if "full" in least else None
        ),
    }


def _rivals(
    module: nn.Module, x: Tensor, where: SpeedSetting, against: Sequence[str]
) -> Iterator[Contestant]:
    if "full" in against:
        forward, batch, compiled = best_forward(module, x)
        run = partial(full, forward, x, where.corners, where.box, batch)
        yield Contestant("full", run, {"batch": batch, "compiled": compiled})
    if "captum" in against:
        for name, batch in (("captum_default", 1), ("captum_best", best_captum(module, x))):
            run = partial(captum, module, x, where.box, where.step, batch)
            yield Contestant(name, run, {"perturbations_per_eval": batch})
    for name, export in (("openvino", exported.openvino), ("onnxruntime", exported.onnxruntime)):
        if name in against:
            exported_forward, settings = export(copy.deepcopy(module), x)
            at = partial(exported.masked, exported_forward, x, where.corners, where.box)
            yield Contestant(name, partial(at, int(str(settings["batch"]))), settings)


def _in_turn(contestants: Sequence[Contestant], rounds: int, device: str) -> dict[str, Measured]:
    """In each round everyone once, so that all have the machine at its quick and its slow times."""
    figures = {contestant.name: Measured() for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            reset_device_peak(device)
            before = memory(device, "VmRSS")
            figures[contestant.name].seconds.append(seconds(contestant.run, device))
            after = memory(device, "VmHWM")
            if before is not None and after is not None:
                figures[contestant.name].peak = max(
                    after - before, figures[contestant.name].peak or 0
                )
    return figures


def products(network: Network, where: SpeedSetting) -> dict[str, int]:
    """Multiplications for all positions: of full passes, of what the form of windows needs (the
    theoretical saving), and those computed.
    """
    return asdict(Incremental(network).products(where.side, where.box, where.corners))
