import heapq
import math

import numpy as np
import pytest

from app.performance.queueing import devices_for, latencies


def by_events(rate: float, seconds: float, devices: int, callers: int = 60_000) -> np.ndarray:
    """Every device with its queue, one event after the other."""
    rng, queues, came, events, found = np.random.default_rng(5), [0] * devices, {}, [], []
    for caller, moment in enumerate(np.cumsum(rng.exponential(1 / rate, callers))):
        heapq.heappush(events, (moment, caller, None))
    waiting: list[list[int]] = [[] for _ in range(devices)]
    while events:
        now, caller, device = heapq.heappop(events)
        if device is None:
            came[caller] = now
            two = rng.choice(devices, min(devices, 2), replace=False)
            device = min(two, key=lambda each: queues[each])
            queues[device] += 1
            waiting[device].append(caller)
            if queues[device] == 1:
                heapq.heappush(events, (now + seconds, caller, device))
        else:
            found.append(now - came[waiting[device].pop(0)])
            queues[device] -= 1
            if waiting[device]:
                heapq.heappush(events, (now + seconds, waiting[device][0], device))
    return np.array(found[callers // 10 :])


@pytest.mark.parametrize(("devices", "load"), [(1, 0.5), (2, 0.7), (4, 0.7), (16, 0.8)])
def test_latencies_are_those_of_queues_followed_event_by_event(devices: int, load: float) -> None:
    seconds = 0.1
    found, expected = (
        latencies(load * devices / seconds, seconds, devices),
        by_events(load * devices / seconds, seconds, devices),
    )
    assert found.mean() == pytest.approx(expected.mean(), rel=0.03)
    assert np.quantile(found, 0.95) == pytest.approx(np.quantile(expected, 0.95), rel=0.08)


def test_one_device_waits_by_pollaczek_and_khinchin() -> None:
    assert latencies(5, 0.1, 1).mean() == pytest.approx(0.1 + 0.5 * 0.1 / (2 * (1 - 0.5)), rel=0.03)
    assert latencies(10, 0.1, 1).tolist() == [math.inf]
    assert np.quantile(latencies(0.01, 0.1, 1), 0.95) == pytest.approx(0.1)


def test_the_fewest_devices_that_keep_the_latency_are_found() -> None:
    needed = devices_for(100, 0.1, latency=0.15)
    assert needed is not None
    assert (
        np.quantile(latencies(100, 0.1, needed), 0.95)
        <= 0.15
        < np.quantile(latencies(100, 0.1, needed - 1), 0.95)
    )
    assert devices_for(100, 0.1, latency=1) == 13, "none busier than 0.8"
    assert devices_for(100, 0.1, latency=0.1) is not None
    assert devices_for(100, 0.1, latency=0.09) is None
