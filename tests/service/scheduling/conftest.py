import pytest

from app.service.scheduling import device_worker, forecast
from tests.service import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the queue and of the worker: no test depends on how quick the machine is."""
    clock = Clock()
    monkeypatch.setattr(forecast, "time", clock)
    monkeypatch.setattr(device_worker, "time", clock)
    return clock
