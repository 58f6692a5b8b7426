"""How long a photograph waits for one of several devices that each take the same time: the M/D/c queue.

Callers come at random (Poisson), the queue is one for all. Mean wait: half of M/M/c's by Erlang's C formula, corrected as by
Cosmetatos (1975, Operations Research 23), which is exact for one device. Tail: exponential above the probability of waiting at all.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """probability: of having to wait at all; mean: seconds over all callers."""

    probability: float
    mean: float

    def quantile(self, share: float) -> float:
        """Seconds that this share of the callers waits at most."""
        if self.probability <= 1 - share:
            return 0.0
        return self.mean / self.probability * math.log(self.probability / (1 - share))


def waiting(rate: float, seconds: float, devices: int) -> Waiting:
    """For so many callers a second, each taking a device for so many seconds. Infinite where they are too many."""
    load = rate * seconds / devices
    if load >= 1:
        return Waiting(1.0, math.inf)
    blocked = 1.0  # Erlang's B, from fewer devices to more
    for n in range(1, devices + 1):
        blocked = rate * seconds * blocked / (n + rate * seconds * blocked)
    probability = blocked / (1 - load * (1 - blocked))  # Erlang's C
    exponential = probability * seconds / (devices * (1 - load))
    correction = 1 + (1 - load) * (devices - 1) * (math.sqrt(4 + 5 * devices) - 2) / (16 * load * devices)
    return Waiting(probability, exponential / 2 * correction)


def devices_for(rate: float, seconds: float, latency: float, share: float = 0.95, most_load: float = 0.8) -> int | None:
    """The fewest devices by which this share of callers is answered within `latency`, none busier than `most_load`; None: never."""
    if latency < seconds:
        return None
    devices = max(1, math.ceil(rate * seconds / most_load))
    while seconds + waiting(rate, seconds, devices).quantile(share) > latency:
        devices += 1
    return devices
