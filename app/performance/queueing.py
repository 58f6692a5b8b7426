"""How long callers wait for one of several devices that each take the same time.

Ray sends each caller to the shorter of two queues. Callers come at random (Poisson). There is no
formula for the waits, so they are simulated; "power of two choices", Mitzenmacher 2001, IEEE TPDS
12, has the limit of infinitely many devices. One queue for all, M/D/c, would be shorter: the
shorter of two may still be one with somebody in it, while a third device is free.
"""

import math

import numpy as np
from numpy.typing import NDArray

CALLERS = 40_000
SETTLED = 2_000  # callers after which the queues are as they stay


def latencies(rate: float, seconds: float, devices: int) -> NDArray[np.float64]:
    """Seconds from coming to answer, of each of CALLERS callers.

    `rate` of them come a second, and each takes a device for so many seconds. Infinite where they
    are too many.
    """
    if rate * seconds >= devices:
        return np.full(1, math.inf)
    random = np.random.default_rng(0)
    count = CALLERS + SETTLED
    moments = np.cumsum(random.exponential(1 / rate, count)).tolist()
    first = random.integers(devices, size=count)
    second = (first + random.integers(1, max(devices, 2), count)) % devices
    free, found = [0.0] * devices, []  # when each device has done all that it was sent
    for now, one, other in zip(moments, first.tolist(), second.tolist(), strict=True):
        mine = (
            one if _queue(free[one] - now, seconds) <= _queue(free[other] - now, seconds) else other
        )
        free[mine] = max(free[mine], now) + seconds
        found.append(free[mine] - now)
    return np.array(found[SETTLED:])


def devices_for(
    rate: float, seconds: float, latency: float, share: float = 0.95, most_load: float = 0.8
) -> int | None:
    """The fewest devices by which this share of callers is answered within `latency` seconds.

    None of the devices is busier than `most_load`. None: no number of devices does it.
    """
    if latency < seconds:
        return None

    def enough(devices: int) -> bool:
        return float(np.quantile(latencies(rate, seconds, devices), share)) <= latency + 1e-9

    most = least = max(1, math.ceil(rate * seconds / most_load))
    while not enough(most):
        least, most = most + 1, 2 * most
    while least < most:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle + 1, most)
    return most


def _queue(busy: float, seconds: float) -> int:
    """Callers that a device holds which is busy for so long."""
    return math.ceil(busy / seconds - 1e-9)
