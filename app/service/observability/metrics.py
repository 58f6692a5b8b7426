"""What Prometheus scrapes: counts and times, in a registry of this service's own."""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from weakpoints.errors import DeadlinePassed, WeakpointsError

SECONDS_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One of each metric; labels have few values."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Histogram(
            "weakpoints_request_seconds",
            "From the request's headers to the last byte of the answer",
            ["route", "status"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.stages = Histogram(
            "weakpoints_stage_seconds",
            "Stages of a detection; `queue` is the wait for the device",
            ["stage"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.refused = Counter(
            "weakpoints_refused_total",
            "Requests that were refused or failed, by reason",
            ["reason"],
            registry=registry,
        )
        self.dropped = Counter(
            "weakpoints_dropped_total",
            "Requests given up after they were let in, by reason: disconnect or deadline",
            ["reason"],
            registry=registry,
        )
        self.batch = Histogram(
            "weakpoints_batch_size",
            "Pictures that were looked at together",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.waiting = Gauge(
            "weakpoints_queue_depth", "Requests that wait for the device", registry=registry
        )
        self.ready = Gauge("weakpoints_ready", "1 while requests are answered", registry=registry)
        self.memory = Gauge(
            "weakpoints_device_memory_bytes",
            "Memory that the device has given out, 0 on a CPU",
            registry=registry,
        )

    def staged(self, timing_ms: Mapping[str, float]) -> None:
        """Counts the milliseconds of each stage of one request."""
        for stage, milliseconds in timing_ms.items():
            self.stages.labels(stage).observe(milliseconds / 1000)

    def failed(self, error: WeakpointsError) -> None:
        """Counts a request that was refused, failed or passed its deadline."""
        if isinstance(error, DeadlinePassed):
            self.dropped.labels("deadline").inc()
        else:
            self.refused.labels(error.slug).inc()

    def gone(self) -> None:
        """Counts a caller that hung up."""
        self.dropped.labels("disconnect").inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
