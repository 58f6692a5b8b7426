"""uvicorn, run as a container wants it: SIGTERM drains and exits 0, slow headers are cut off, a lost device exits 1."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.method.detector import Detector
from app.service.routes import create_app
from app.service.state import Service
from app.settings import Settings

HEADERS = 10.0  # seconds in which a request's headers must have come


class Protocol(H11Protocol):
    """uvicorn has no deadline for headers: a connection whose request has not begun HEADERS seconds after its first byte is closed."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()

    def _wait(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADERS, self.transport.close)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """Not ready from the first SIGTERM on; `drain_delay` later nothing is accepted; what was accepted is answered."""

    def __init__(self, settings: Settings, load: Callable[[], Detector] | None = None) -> None:
        app = create_app(settings, load, self._fail)
        self.service: Service = app.state.service
        self.failed = False
        super().__init__(
            uvicorn.Config(
                app,
                settings.host,
                settings.port,
                http=Protocol,
                access_log=False,
                server_header=False,
                log_config=None,
                timeout_graceful_shutdown=settings.stop_timeout,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or self.service.draining:
            return super().handle_exit(sig, frame)
        self.service.draining = True
        asyncio.get_running_loop().call_later(self.service.settings.drain_delay, self._end)

    def _end(self) -> None:
        self.should_exit = True

    def _fail(self) -> None:
        self.failed = self.should_exit = True


def serve(settings: Settings) -> int:
    """Until a signal comes. 0 if it was one, 1 if the network can't be loaded or the device was lost."""
    server = Server(settings)
    before = signal.signal(
        signal.SIGTERM, lambda number, frame: None
    )  # uvicorn raises it once more when all is done
    try:
        server.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    return 1 if server.failed or not server.started else 0
