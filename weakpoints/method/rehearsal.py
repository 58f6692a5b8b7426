"""What a detector does before the first photograph, so that it need not wait for the device."""

import logging

import numpy as np

from weakpoints.errors import BadOption, OutOfMemory
from weakpoints.method.detector import Detector
from weakpoints.method.stages import Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import choose
from weakpoints.progress import Progress, no_progress

log = logging.getLogger("weakpoints")
REHEARSED = 2  # times: the first tunes and compiles, the second records (see `cuda_graphs`)


def rehearse(detector: Detector, batch: int, progress: Progress = no_progress) -> int:
    """Warms the device up on a uniform picture; how many pictures it may look at together.

    On a GPU with default options, so that their shapes are tuned and recorded, and with 1, 2,
    ... `batch` pictures, for each number is tuned by itself. What memory does not hold is not
    done together. On a CPU with a single box, for which all loops are compiled. Call it in the
    thread that will use the device: cuDNN keeps what it has tuned for each thread.
    """
    on_gpu = detector.model.device.startswith("cuda")
    waiting = [_uniform(detector, on_gpu) for _ in range(REHEARSED if on_gpu else 1)]
    (seen,) = detector.forward_backward(waiting[:1])
    for prepared in waiting:
        detector.occlude(prepared, seen, progress)
    for count in range(2, batch + 1 if on_gpu else 2):
        try:
            detector.forward_backward(waiting[:1] * count)
        except OutOfMemory:
            log.warning(
                "the device's memory does not hold %d pictures together: it looks at %d",
                count,
                count - 1,
            )
            return count - 1
        progress("rehearsal", count, batch)
    return batch


def _uniform(detector: Detector, default: bool) -> Prepared:
    """A black picture; with the default options where they are allowed, or with one box."""
    black = np.zeros((64, 64, 3), np.uint8)
    least = choose(patch=detector.model.side, stride=1, colours=1)
    try:
        return detector.prepare(black, choose() if default else least, Stopwatch())
    except BadOption:  # more passes than WEAKPOINTS_MAX_PASSES
        return detector.prepare(black, least, Stopwatch())
