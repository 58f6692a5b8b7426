"""A replica in this process; tests/test_cluster.py has them on a cluster."""

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from prometheus_client.metrics_core import Metric

from app.cluster.start import Share
from app.settings import Settings
from tests.toys import toy
from weakpoints.errors import WeakpointsError

serving = pytest.importorskip("app.cluster.serving", exc_type=ImportError)


def told(replica: str, waiting: float) -> tuple[str, list[Metric]]:
    metric = Metric("weakpoints_queue_depth", "Requests that wait for the device", "gauge")
    metric.add_sample("weakpoints_queue_depth", {}, waiting)
    return replica, [metric]


class Others:
    """A handle whose other replicas answer with their metrics, or fail."""

    replica: Any

    def broadcast(self, method: str) -> "Others":
        assert method == "metrics"
        return self

    async def results_async(self, timeout_s: float, return_exceptions: bool) -> list[object]:
        return [await self.replica.metrics(), told("other", 3), RuntimeError("died meanwhile")]


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(serving.serve, "get_deployment_handle", lambda name, app: Others())
    monkeypatch.setattr(
        serving.serve,
        "get_replica_context",
        lambda: SimpleNamespace(replica_id=SimpleNamespace(unique_id="mine")),
    )
    monkeypatch.setattr(serving.logging, "basicConfig", lambda **how: None)
    made = serving.Replica(Settings(), toy)
    made.handle.replica = made
    return made


def test_a_replica_is_healthy_once_it_answers_and_until_its_device_is_lost(replica: Any) -> None:
    async def lived() -> None:
        app = replica.__serve_build_asgi_app__()
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app), base_url="http://ray"
            ) as client,
        ):
            await replica.check_health()
            assert (await client.get("/readyz")).status_code == 200
            text = (await client.get("/metrics")).text
            assert 'weakpoints_ready{replica="mine"} 1.0' in text
            assert 'weakpoints_queue_depth{replica="other"} 3.0' in text
            assert text.count("# TYPE weakpoints_queue_depth gauge") == 1
            assert "/metrics" in (await client.get("/openapi.json")).json()["paths"]
            app.state.service.stop()
            with pytest.raises(WeakpointsError, match="device is lost"):
                await replica.check_health()

    asyncio.run(lived())


def test_metrics_of_no_replica_are_none() -> None:
    assert serving.by_replica({}) == b""


def test_what_does_not_start_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(application: object, name: str) -> None:
        raise RuntimeError("network 'nothing' is not in the manifest")

    monkeypatch.setattr(serving.serve, "start", lambda **how: None)
    monkeypatch.setattr(serving.serve, "run", fail)
    with pytest.raises(WeakpointsError, match="did not start: network 'nothing'"):
        serving.start(Settings(), Share())
