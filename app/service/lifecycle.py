"""The service from start to stop. The network loads in the background: probes answer meanwhile."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request

from app.decoding.pool import Decoders
from app.service.http.api_keys import Keys
from app.service.landmark_sets import LandmarkSets
from app.service.observability.metrics import Metrics
from app.service.scheduling.pipeline import Pipeline
from app.settings import Settings
from weakpoints.errors import Unavailable, WeakpointsError
from weakpoints.landmarks.describer import Describer
from weakpoints.method.detector import Detector

log = logging.getLogger("weakpoints")
CLOSE_SECONDS = (
    5.0  # seconds that closing may take once every request has been answered or given up
)
RETRY_AFTER = 5  # seconds that a caller is told to wait while the network loads


@dataclass
class Service:
    """What all requests share.

    `stop` ends the process: called when the network can't be loaded, or the device is lost.
    """

    settings: Settings
    stop: Callable[[], None]
    metrics: Metrics = field(default_factory=Metrics)
    started: bool = False
    draining: bool = False
    _pipeline: Pipeline | None = None
    _describer: Describer | None = None

    def __post_init__(self) -> None:
        self.keys = Keys(self.settings.api_keys)
        self.landmark_sets = LandmarkSets(self.settings.landmarks, self.settings.landmarks_writable)
        self.decoding = Decoders(self.settings.decoders, self.settings.limits)
        self.metrics.waiting.set_function(
            lambda: self._pipeline.worker.waiting if self._pipeline else 0
        )
        self.metrics.ready.set_function(lambda: self.ready)
        self.metrics.memory.set_function(
            lambda: self._pipeline.detector.memory() if self._pipeline else 0
        )

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self.started and not self.draining and self.alive

    @property
    def alive(self) -> bool:
        """Whether the device answers, or is not needed yet."""
        return self._pipeline is None or self._pipeline.worker.alive

    @property
    def pipeline(self) -> Pipeline:
        """What answers requests. Raises Unavailable while the network loads."""
        if self._pipeline is None or not self.started:
            raise Unavailable("the network is being loaded", retry_after=RETRY_AFTER)
        return self._pipeline

    @property
    def describer(self) -> Describer:
        """For named points. Raises Unavailable while the network loads."""
        if self._describer is None or not self.started:
            raise Unavailable("the network is being loaded", retry_after=RETRY_AFTER)
        return self._describer

    async def start(self, load: Callable[[], Detector]) -> None:
        """Loads and warms up. What fails is logged, and stops the service."""
        try:
            self.decoding.start()
            detector = await run_sync(load, abandon_on_cancel=True)
            # The children start while the network loads: either takes a second.
            await run_sync(self.decoding.wait, abandon_on_cancel=True)
            self._pipeline = Pipeline(
                self.settings, detector, self.decoding, self.metrics, self.stop
            )
            await self._pipeline.warm_up()
            self._describer = Describer(detector)
            # A forward pass, while nothing else is on the device.
            await run_sync(getattr, self._describer, "layout", abandon_on_cancel=True)
            self.started = True
            log.info("ready", extra={"network": detector.model.name})
        except WeakpointsError as error:
            log.critical("the service can't start: %s", error)
            self.stop()
        except Exception as error:  # nobody foresaw it: the text alone may be a bare key
            log.critical(
                "the service can't start: %s: %s", type(error).__name__, error, exc_info=error
            )
            self.stop()

    async def close(self) -> None:
        """Waits until the device has done what it does now, at most CLOSE_SECONDS seconds."""
        self.draining = True
        # First: a decoding that is given up frees its caller, who then needs no device.
        await run_sync(self.decoding.close)  # it waits for each child's end
        if self._pipeline is None:
            return
        closing = threading.Thread(target=self._pipeline.close, daemon=True)
        closing.start()  # a daemon: it keeps no process from ending
        with anyio.move_on_after(CLOSE_SECONDS):
            while closing.is_alive():
                await anyio.sleep(0.01)
        if closing.is_alive():
            log.error("the device did not stop in %g s and is left behind", CLOSE_SECONDS)


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service
