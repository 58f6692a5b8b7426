"""`weakpoints serve` many times over, behind the proxies of Ray Serve.

Each replica is the whole service. Routes, schemas, errors, limits, queue and cache are those of
`create_app`. Ray spreads requests over replicas: the less loaded of two gets it. It restarts those
that die, and adds and removes them by load. When the settings change, it replaces them one after
the other.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any

from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from ray import serve
from ray.serve.config import BackpressureConfig
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from app.cluster.proxy import DEADLINE_GRACE
from app.cluster.start import Share, connected
from app.loading import loaded
from app.service.app import create_app
from app.service.lifecycle import Service
from app.service.observability.logs import json_handler
from app.service.observability.metrics import CONTENT_TYPE
from app.settings import Settings
from weakpoints.errors import WeakpointsError
from weakpoints.method.detector import Detector

DEPLOYMENT = "weakpoints"
CHECK = 1.0  # seconds between health checks; three that fail replace the replica
# requests that a replica holds: one that is looked at, some that are received, some that wait
ONGOING = 16
SCRAPE = 5.0  # seconds that other replicas may take to tell their metrics


class Replica:
    """One service: its own network, device thread, queue and cache.

    What its queue refuses is answered 429, whoever sent it here.
    """

    service: Service

    def __init__(self, settings: Settings, load: Callable[[], Detector] | None = None) -> None:
        logging.basicConfig(
            level=logging.INFO, handlers=[json_handler()]
        )  # this process is the replica's own
        self.settings, self.failed = settings, False
        self.detector = (load or partial(loaded, settings))()
        self.handle: DeploymentHandle[Any] = serve.get_deployment_handle(DEPLOYMENT, DEPLOYMENT)
        self.name = serve.get_replica_context().replica_id.unique_id

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = create_app(self.settings, lambda: self.detector, self._fail)
        self.service = app.state.service
        app.router.routes.insert(
            0, APIRoute("/metrics", self.metrics_of_all, include_in_schema=False)
        )
        return app

    async def check_health(self) -> None:
        """Ray sends no request before this has returned once."""
        while not (self.service.started or self.failed):
            await asyncio.sleep(0.01)
        if self.failed or not self.service.alive:
            raise WeakpointsError("the device is lost or its thread hangs")

    async def metrics(self) -> tuple[str, list[Metric]]:
        return self.name, list(self.service.metrics.registry.collect())

    async def metrics_of_all(self) -> Response:
        """A scrape reaches one replica; it asks the others."""
        answers = await self.handle.broadcast("metrics").results_async(
            timeout_s=SCRAPE, return_exceptions=True
        )
        return Response(
            by_replica(dict(answer for answer in answers if isinstance(answer, tuple))),
            media_type=CONTENT_TYPE,
        )

    def _fail(self) -> None:
        self.failed = True


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def by_replica(by_name: Mapping[str, Iterable[Metric]]) -> bytes:
    """The same metrics with one label more: whose they are."""
    families: dict[str, Metric] = {}
    for replica, metrics in sorted(by_name.items()):
        for metric in metrics:
            family = families.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            family.samples += [
                sample._replace(labels=sample.labels | {"replica": replica})
                for sample in metric.samples
            ]
    registry = CollectorRegistry()
    registry.register(_Collected(families.values()))
    return generate_latest(registry)


def application(settings: Settings) -> serve.Application:
    """For `serve deploy`: its `args` are settings by their names.

    Those that are not given come from the environment.
    """
    return deployed(settings, Share())


def deployed(
    settings: Settings, share: Share, load: Callable[[], Detector] | None = None
) -> serve.Application:
    """The service as a deployment of `share.workers` replicas.

    A replica holds few requests. So those that wait go to whichever replica is free or comes up.
    Beyond the queue's size they are answered 429.
    """
    deployment: Any = serve.deployment(
        serve.ingress()(Replica),
        name=DEPLOYMENT,
        num_replicas=share.workers,
        ray_actor_options=share.resources,
        max_ongoing_requests=min(ONGOING, settings.uploads),
        max_queued_requests=settings.queue_size,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        health_check_period_s=CHECK,
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=settings.stop_timeout,
        max_surge_percent=100,
        rolling_update_percentage=1.0,
        logging_config=LoggingConfig(encoding="JSON", enable_access_log=False),
    )
    bound: serve.Application = deployment.bind(settings, load)
    return bound


def start(settings: Settings, share: Share, load: Callable[[], Detector] | None = None) -> None:
    """On the cluster that this process is connected to; returns once every replica answers."""
    serve.start(
        http_options={
            "host": settings.host,
            "port": settings.port,
            "request_timeout_s": settings.request_timeout + DEADLINE_GRACE,
        }
    )
    try:
        serve.run(deployed(settings, share, load), name=DEPLOYMENT)
    except RuntimeError as error:
        raise WeakpointsError(f"the service did not start: {error}") from error


@contextmanager
def running(
    settings: Settings, share: Share, load: Callable[[], Detector] | None = None
) -> Iterator[None]:
    """`start`, and at the end what was accepted is answered and the service is gone."""
    start(settings, share, load)
    try:
        yield
    finally:
        serve.delete(DEPLOYMENT)


def serve_with_ray(settings: Settings, share: Share) -> int:
    """Until a signal comes; then what was accepted is answered."""
    ended = Event()
    with connected(), running(settings, share):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: ended.set())
        ended.wait()
    return 0
