import math

import numpy as np
import pytest

from app.evaluation.queueing import devices_for, waiting


def simulated(rate: float, seconds: float, devices: int, callers: int = 400_000) -> np.ndarray:
    """Seconds that each caller waits: with equal times, a device is free again for the caller `devices` places later."""
    arrivals = np.cumsum(np.random.default_rng(5).exponential(1 / rate, callers))
    starts = arrivals.copy()
    for i in range(devices, callers):
        starts[i] = max(arrivals[i], starts[i - devices] + seconds)
    return (starts - arrivals)[callers // 10 :]


@pytest.mark.parametrize(("devices", "load"), [(1, 0.5), (1, 0.8), (2, 0.7), (4, 0.7), (16, 0.8)])
def test_waiting_is_what_a_simulation_shows(devices: int, load: float) -> None:
    seconds = 0.1
    found, waits = waiting(load * devices / seconds, seconds, devices), simulated(load * devices / seconds, seconds, devices)
    assert found.mean == pytest.approx(waits.mean(), rel=0.1)
    assert found.quantile(0.95) == pytest.approx(np.quantile(waits, 0.95), rel=0.2, abs=0.25 * seconds)


def test_one_device_waits_by_pollaczek_and_khinchin() -> None:
    assert waiting(5, 0.1, 1).mean == pytest.approx(0.5 * 0.1 / (2 * (1 - 0.5)))
    assert waiting(10, 0.1, 1).mean == math.inf
    assert waiting(0.01, 0.1, 1).quantile(0.95) == 0


def test_the_fewest_devices_that_keep_the_latency_are_found() -> None:
    needed = devices_for(100, 0.1, latency=0.15)
    assert needed is not None
    assert (
        0.1 + waiting(100, 0.1, needed).quantile(0.95) <= 0.15 < 0.1 + waiting(100, 0.1, needed - 1).quantile(0.95)
        or 10 / (needed - 1) > 0.8
    )
    assert devices_for(100, 0.1, latency=0.1) is not None
    assert devices_for(100, 0.1, latency=0.09) is None
