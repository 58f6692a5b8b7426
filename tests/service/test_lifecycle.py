"""The service from start to stop."""

import asyncio

import pytest

from app.service.lifecycle import Service
from app.settings import Settings
from weakpoints.errors import Unavailable, WeightsError
from weakpoints.method.detector import Detector


def started(error: Exception) -> list[str]:
    """Starts a service whose network can't be loaded; what it called."""
    called: list[str] = []

    def load() -> Detector:
        raise error

    async def scenario() -> None:
        service = Service(Settings(decoders=1), lambda: called.append("stop"))
        await service.start(load)
        assert not service.ready
        with pytest.raises(Unavailable):
            _ = service.pipeline
        await service.close()

    asyncio.run(scenario())
    return called


def test_a_start_that_fails_for_a_reason_nobody_foresaw_is_logged_with_type_and_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert started(KeyError("weights")) == ["stop"]
    (record,) = (record for record in caplog.records if record.levelname == "CRITICAL")
    assert record.getMessage() == "the service can't start: KeyError: 'weights'"
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError
    assert "raise error" in (caplog.text)


def test_a_start_that_fails_for_a_known_reason_is_one_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert started(WeightsError("weights.pt is missing")) == ["stop"]
    (record,) = (record for record in caplog.records if record.levelname == "CRITICAL")
    assert record.getMessage() == "the service can't start: weights.pt is missing"
    assert record.exc_info is None
