"""What a detector does before the first photograph, so that it need not wait for the device."""

import logging

import numpy as np

from weakpoints.errors import BadOption, OutOfMemory
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.method.paused import Paused
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import choose
from weakpoints.progress import Progress, no_progress

log = logging.getLogger("weakpoints")
REHEARSED = 2  # times: the first tunes and compiles, the second records (see `cuda_graphs`)


def rehearse(detector: Detector, batch: int, progress: Progress = no_progress) -> int:
    """Warms the device up on an even picture; how many pictures it may look at together.

    On a GPU with default options, so that their shapes are tuned and recorded, and with 1, 2,
    ... `batch` pictures, for each number is tuned by itself. What memory does not hold is not
    done together. On a CPU with a single box. Call it in the thread that will call `look`:
    cuDNN keeps what it has tuned for each thread.
    """
    on_gpu = detector.model.device.startswith("cuda")
    paused = [_even(detector, on_gpu) for _ in range(REHEARSED if on_gpu else 1)]
    (look,) = detector.look(paused[:1])
    for each in paused:
        detector.finish(each, look, progress)
    for count in range(2, batch + 1 if on_gpu else 2):
        try:
            detector.look(paused[:1] * count)
        except OutOfMemory:
            log.warning(
                "the device's memory does not hold %d pictures together: it looks at %d",
                count,
                count - 1,
            )
            return count - 1
        progress("rehearsal", count, batch)
    return batch


def _even(detector: Detector, default: bool) -> Paused[Localization]:
    """A black picture; with the default options where they are allowed, or with one box."""
    black = np.zeros((64, 64, 3), np.uint8)
    least = choose(patch=detector.model.side, stride=1, colours=1)
    try:
        return detector.start(black, choose() if default else least, Stopwatch())
    except BadOption:  # more passes than WEAKPOINTS_MAX_PASSES
        return detector.start(black, least, Stopwatch())
