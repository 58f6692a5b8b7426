"""How long the occlusion of one picture takes, against what people use today.

All in one run on one machine.
"""

import copy
import ctypes
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import BadOption
from app.incremental.engine import Incremental
from app.incremental.windows import Products
from app.method.occlusion import positions
from app.networks.architectures import load_module, network_of, skeleton
from app.networks.manifest import Entry
from app.networks.network import Linear, Network
from app.networks.precision import arithmetic, windows
from app.options import Precision

BATCHES = {
    "cpu": (1, 4, 8, 16, 32),
    "cuda": (32, 128, 256),
}  # the full pass's and Captum's: the best of them is compared with


@dataclass(frozen=True)
class Setting:
    """Boxes of `box` pixels every `step` over a picture of `side`."""

    side: int
    box: int
    step: int

    @property
    def corners(self) -> tuple[tuple[int, int], ...]:
        starts = positions(self.side, self.box, self.step)
        return tuple((y, x) for y in starts for x in starts)


def speed_of(
    entry: Entry,
    limit: int,
    against: Sequence[str],
    *,
    rounds: int,
    device: str,
    precision: Precision,
) -> dict[str, Any]:
    """`compare` for a network of the manifest.

    Where its own weights are not here, they are random: speed does not depend on them.
    """
    trained = entry.path.exists()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = load_module(entry) if trained else skeleton(entry).eval().requires_grad_(False)
    found = compare(
        module,
        setting(entry.side, limit),
        against,
        rounds=rounds,
        device=device,
        precision=precision,
    )
    return {"network": entry.name, "weights": "trained" if trained else "random", **found}


def table(found: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"{found['network']} ({found['weights']} weights), {found['side']} px, "
        f"boxes of {found['box']} every {found['step']}, "
        f"{found['device']}, {found['precision']}, {found['threads']} threads",
        f"{'':16}{'s/image':>10}{'spread':>10}{'times ours':>12}{'peak MiB':>10}",
    ]
    for name in ("ours", "full", "captum_default", "captum_best"):
        if name in found:
            each = found[name]
            peak = (
                "-"
                if each["peak_memory_bytes"] is None
                else f"{each['peak_memory_bytes'] / 2**20:.0f}"
            )
            lines.append(
                f"{name:16}{each['seconds_per_image']:10.3f}{each['spread']:10.3f}{each['ratio']:12.1f}{peak:>10}"
            )
    rate = found["ours_products_per_second"] / found["matmul_products_per_second"]
    lines.append(
        f"theoretical saving {found['theoretical_saving']:.2f}, turned into time: "
        + (
            "-"
            if found["saving_turned_into_time"] is None
            else f"{found['saving_turned_into_time']:.0%}"
        )
        + f"; {found['ours_products_per_second'] / 1e9:.1f} G products/s, "
        + f"{rate:.0%} of this machine's matrix product"
    )
    return "\n".join(lines)


def setting(side: int, limit: int) -> Setting:
    """The default box, a fourteenth of the side, at the finest step that `limit` allows.

    That is the step that asks for no more than `limit` positions. Raises BadOption where there is
    none.
    """
    box = side // 14
    for step in range(max(box // 2, 1), box + 1):
        found = Setting(side, box, step)
        if len(found.corners) <= limit:
            return found
    raise BadOption(
        f"positions is {limit}; boxes that leave no gap are {len(found.corners)} or more",
        option="positions",
        limit=len(found.corners),
        actual=limit,
    )


def compare(
    module: nn.Module,
    where: Setting,
    against: Sequence[str],
    *,
    rounds: int,
    device: str,
    precision: Precision,
) -> dict[str, Any]:
    """Seconds a picture, taken in turn after a warm-up: medians, and the spread over the rounds.

    The spread is the largest less the smallest. All are in the same precision.

    ours: `Incremental`.
    full: every masked picture through the whole network, in the best batch, compiled where that
    helps.
    captum_default, captum_best: Captum's Occlusion, one picture a pass, and as many as serve it
    best.
    """
    with arithmetic(device, precision):
        return _compare(module, where, against, rounds, device, precision)


def _compare(
    module: nn.Module,
    where: Setting,
    against: Sequence[str],
    rounds: int,
    device: str,
    precision: Precision,
) -> dict[str, Any]:
    network = network_of(copy.deepcopy(module).to(device).to(memory_format=torch.channels_last))
    engine = Incremental(network, dtype=windows(precision))
    module = module.to(device, engine.dtype).to(memory_format=torch.channels_last)
    x = torch.randn(1, 3, where.side, where.side, generator=torch.Generator().manual_seed(0)).to(
        device, engine.dtype
    )
    colours = torch.zeros(len(where.corners), 3, device=device)
    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: engine.logits(network.trace(x), where.corners, where.box, colours)
    }
    settings: dict[str, dict[str, object]] = {"ours": {}}
    if "full" in against:
        forward, batch, compiled = _best_forward(module, x)
        runs["full"] = lambda: _full(forward, x, where, batch)
        settings["full"] = {"batch": batch, "compiled": compiled}
    if "captum" in against:
        batch = _best_captum(module, x)
        runs["captum_default"] = lambda: _captum(module, x, where.box, where.step, 1)
        runs["captum_best"] = lambda: _captum(module, x, where.box, where.step, batch)
        settings |= {
            "captum_default": {"perturbations_per_eval": 1},
            "captum_best": {"perturbations_per_eval": batch},
        }
    for _ in range(
        3 if device == "cuda" else 1
    ):  # on a GPU, the second time records; the others were warmed up when their batch was chosen
        engine.logits(network.trace(x), where.corners, where.box, colours)
    peaks: dict[str, int | None] = {}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            reset_peak(device)
            before = memory(device, "VmRSS")
            seconds[name].append(_seconds(run, device))
            after = memory(device, "VmHWM")
            peaks[name] = (
                None
                if before is None or after is None
                else max(after - before, peaks.get(name) or 0)
            )
    work = products(network, where)
    rate = _matmul_rate(x)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    entries = {
        name: {
            "seconds_per_image": medians[name],
            "spread": max(each) - min(each),
            "positions": len(where.corners),
            "all_seconds": each,
            "peak_memory_bytes": peaks[name],
            "ratio": medians[name] / medians["ours"],
            **settings[name],
        }
        for name, each in seconds.items()
    }
    saving = work["full"] / work["windows"]
    return {
        **entries,
        "box": where.box,
        "step": where.step,
        "side": where.side,
        "device": device,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "form": type(engine.form).__name__.lower(),
        "products": work,
        "matmul_products_per_second": rate,
        "ours_products_per_second": work["computed"] / medians["ours"],
        "share_of_products": work["computed"] / rate / medians["ours"],
        "theoretical_saving": saving,
        "saving_turned_into_time": medians["full"] / medians["ours"] / saving
        if "full" in medians
        else None,
    }


def products(network: Network, where: Setting) -> dict[str, int]:
    """Multiplications for all positions: of full passes, of what the form of windows needs (the
    theoretical saving), and those computed.
    """
    found = Incremental(network).form.plan(where.side, where.box, where.corners).products
    head = len(where.corners) * sum(
        layer.weight.numel() for layer in network.layers if isinstance(layer, Linear)
    )
    return asdict(found + Products(head, head, head))


def _best_forward(module: nn.Module, x: Tensor) -> tuple[Callable[[Tensor], Tensor], int, bool]:
    """The fastest of the batches, plain and compiled with its weights frozen.

    Where there is no compiler, plain.
    """
    compiled = torch.compile(module, options={"freezing": True})
    found: list[tuple[float, int, bool]] = []
    with torch.inference_mode():
        for batch in BATCHES[x.device.type]:
            for is_compiled, forward in ((False, module), (True, compiled)):
                try:
                    found.append((_per_picture(forward, x, batch), batch, is_compiled))
                except Exception:
                    continue
    _, batch, is_compiled = min(found)
    return (compiled if is_compiled else module), batch, is_compiled


def _per_picture(forward: Callable[[Tensor], Tensor], x: Tensor, batch: int) -> float:
    pictures = x.repeat(batch, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    forward(pictures)
    return min(_seconds(lambda: forward(pictures), x.device.type) for _ in range(3)) / batch


@torch.inference_mode()
def _full(forward: Callable[[Tensor], Tensor], x: Tensor, where: Setting, batch: int) -> Tensor:
    corners, logits = where.corners, []
    for first in range(0, len(corners), batch):
        pictures = x.repeat(batch, 1, 1, 1).contiguous(
            memory_format=torch.channels_last
        )  # one size, so that nothing is compiled twice
        for picture, (top, left) in zip(pictures, corners[first : first + batch], strict=False):
            picture[:, top : top + where.box, left : left + where.box] = 0
        logits.append(forward(pictures))
    return torch.cat(logits)[: len(corners)]


def _best_captum(module: nn.Module, x: Tensor) -> int:
    """Chosen on 49 large boxes: what a pass costs does not depend on their size."""
    box, step = x.shape[-1] // 2, -(-x.shape[-1] // 12)
    _captum(module, x, box, step, 1)
    return min(
        BATCHES[x.device.type],
        key=lambda batch: _seconds(lambda: _captum(module, x, box, step, batch), x.device.type),
    )


@torch.inference_mode()
def _captum(module: nn.Module, x: Tensor, box: int, step: int, per_pass: int) -> Tensor:
    from captum.attr import Occlusion  # heavy, and wanted here alone

    shape, strides = (3, box, box), (3, step, step)
    found: Tensor = Occlusion(module).attribute(
        x, shape, strides=strides, target=0, perturbations_per_eval=per_pass
    )
    return found


def _matmul_rate(x: Tensor) -> float:
    """Multiplications a second of the largest product that is quick, the best of ten."""
    size = 2048 if x.device.type == "cpu" else 8192
    a = torch.randn(size, size, dtype=torch.float32).to(x)
    return size**3 / min(_seconds(lambda: a @ a, x.device.type) for _ in range(10))


def processor() -> str:
    """Its name, as Linux says it; elsewhere the architecture's."""
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _seconds(run: Callable[[], object], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def reset_peak(device: str) -> None:
    """Before `memory` is asked for the peak of what follows."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(
            0
        )  # or what the last contestant freed would still be resident
    clear = Path("/proc/self/clear_refs")  # "5" resets VmHWM, Linux's peak of the resident memory
    if clear.exists():
        clear.write_text("5")


def memory(device: str, field: str) -> int | None:
    """Bytes: VmRSS is what is held now, VmHWM the peak."""
    if device == "cuda":
        return (
            torch.cuda.max_memory_allocated() if field == "VmHWM" else torch.cuda.memory_allocated()
        )
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines[field].split()[0]) * 1024
