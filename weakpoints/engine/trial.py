"""Fast paths are tried before they are trusted.

When a network is loaded, each fast path of a GPU answers for a few boxes over a real picture and
is compared with whole passes in float32; looking at several pictures together is compared with
looking at each alone. What raises or disagrees is switched off with a warning, and the service
starts on the next slower path: slower is better than wrong or not at all.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weakpoints.engine.engine import Incremental
from weakpoints.engine.paths import Name, Paths, Tried
from weakpoints.networks.network import Network

log = logging.getLogger("weakpoints")
TIMES = 3  # the first call tunes and compiles, the second records, the third plays the recording
TOLERANCE = 0.02  # of the largest logit; float16 and TensorFloat-32 round to a tenth of this
APART = 0.2  # of a tensor's norm: rounded to TensorFloat-32, a fine map moves by up to 0.06


@dataclass(frozen=True, eq=False)
class TrialBoxes:
    """Boxes over one picture x (1, 3, S, S): corners (y, x), side in pixels, colours (P, 3)."""

    x: Tensor
    corners: tuple[tuple[int, int], ...]
    side: int
    colours: Tensor


def trusted(
    build: Callable[[Paths], Incremental], wanted: Paths, boxes: TrialBoxes
) -> tuple[Incremental, tuple[Tried, ...]]:
    """The engine on the fastest paths that answer rightly, and what was found of each wanted one.

    build: makes an engine that takes these paths. Raises what the plain engine raises.
    """
    paths = Paths()
    engine = build(paths)
    expected = whole_passes(engine.network, boxes)
    _, seconds = _answers(engine, boxes)
    tried = []
    names: tuple[Name, ...] = ("float16", "triton", "cuda_graphs")
    for name in names:
        if not getattr(wanted, name):
            continue
        faster = replace(paths, **{name: True})
        try:
            candidate = build(faster)
            answers, now = _answers(candidate, boxes)
            _compare(answers, expected)
        except Exception as error:  # compilers, drivers and allocators raise almost anything
            tried.append(_off(name, error))
            continue
        tried.append(Tried(name, on=True, gain=seconds / now))
        engine, paths, seconds = candidate, faster, now
    return engine, tuple(tried)


def batching(
    alone: Callable[[], Sequence[Tensor]], together: Callable[[], Sequence[Tensor]]
) -> Tried:
    """What was found of looking at several pictures together.

    Both return the same tensors. Raises what `alone` raises.
    """
    expected, slow = _timed(alone)
    try:
        seen, fast = _timed(together)
        for one, other in zip(seen, expected, strict=True):
            apart = float((one - other).norm() / other.norm().clamp(min=1e-12))
            if not apart <= APART:
                raise ArithmeticError(
                    f"together they differ by {apart:.2g}; at most {APART} is right"
                )
    except Exception as error:
        return _off("batching", error)
    return Tried("batching", on=True, gain=slow / fast)


@torch.inference_mode()
def whole_passes(network: Network, boxes: TrialBoxes) -> Tensor:
    """(P, C) logits of the picture with each box put over it, by one whole pass each."""
    covered = boxes.x.to(network.like).repeat(len(boxes.corners), 1, 1, 1)
    for i in range(len(boxes.corners)):
        y, x = boxes.corners[i]
        colour = boxes.colours[i].to(covered)[:, None, None]
        covered[i, :, y : y + boxes.side, x : x + boxes.side] = colour
    return network.logits(covered)


def _answers(engine: Incremental, boxes: TrialBoxes) -> tuple[list[Tensor], float]:
    """The logits of each call, and the seconds of the last."""
    trace = engine.network.trace(boxes.x)
    colours = boxes.colours.to(trace.x)
    answers, seconds = [], 0.0
    for _ in range(TIMES):
        start = time.perf_counter()
        logits = engine.logits(trace, boxes.corners, boxes.side, colours)
        answers.append(logits.double().cpu())  # waits for the device
        seconds = time.perf_counter() - start
    return answers, seconds


def _compare(answers: list[Tensor], expected: Tensor) -> None:
    """Raises ArithmeticError where an answer is not finite or differs by more than TOLERANCE."""
    expected = expected.double().cpu()
    for logits in answers:
        if not logits.isfinite().all():
            raise ArithmeticError("it answers with numbers that are not finite")
        difference = float((logits - expected).abs().max() / expected.abs().max())
        if difference > TOLERANCE:
            raise ArithmeticError(
                f"its logits differ by {difference:.2g} of the largest; "
                f"at most {TOLERANCE} is right"
            )


def _timed(look: Callable[[], Sequence[Tensor]]) -> tuple[list[Tensor], float]:
    """What it returns, in float64 on the CPU, and the seconds of the last of TIMES calls."""
    tensors, seconds = [], 0.0
    for _ in range(TIMES):
        start = time.perf_counter()
        tensors = [tensor.double().cpu() for tensor in look()]
        seconds = time.perf_counter() - start
    return tensors, seconds


def _off(name: Name, error: Exception) -> Tried:
    """The log's line, and what the model says of the path."""
    why = f"{type(error).__name__}: {error}".splitlines()[0]
    log.warning("%s is switched off, the service is slower without it: %s", name, why)
    return Tried(name, on=False, why=why)
