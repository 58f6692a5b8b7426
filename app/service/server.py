"""uvicorn as a container needs it.

A signal: requests are finished, exit code 0. Lost device: exit code 1. Port in use: exit code 2.
"""

import errno
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from app.allocator import limit_malloc_arenas
from app.loading import loaded
from app.service.app import create_app
from app.service.http.connections import Connections
from app.service.http.protocol import Protocol
from app.service.http.signals import exit_in, on_stop
from app.service.lifecycle import CLOSE_SECONDS, Service
from app.service.observability.tracing import flush
from app.settings import Settings
from weakpoints.errors import WeakpointsError
from weakpoints.method.detector import Detector

log = logging.getLogger("weakpoints")
BACKLOG = 2048  # connections that the system holds until they are accepted


def config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    protocol = partial(
        Protocol, settings=settings, open_connections=Connections(settings.connections)
    )
    return uvicorn.Config(
        app,
        settings.host,
        settings.port,
        http=cast(Any, protocol),
        ws="none",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(map(str, settings.proxies)),
        log_config=None,
        timeout_keep_alive=cast(int, settings.keep_alive),  # any number of seconds will do
        timeout_graceful_shutdown=settings.stop_timeout,
    )


class Server(uvicorn.Server):
    """Stops in two steps: first `/readyz` fails, and `drain_delay` later the socket closes.

    What was accepted until then is answered.
    """

    def __init__(self, settings: Settings, load: Callable[[], Detector] | None = None) -> None:
        app = create_app(settings, load, self._fail)
        self.service: Service = app.state.service
        self.failed = False
        self._end: float | None = None  # on time.monotonic's clock
        super().__init__(config(app, settings))

    def stop(self, number: int) -> None:
        """What a signal does.

        It may come at any time, even before the event loop runs. So this only says so. A second one
        ends the delay. A second Ctrl-C does not wait for what was accepted.
        """
        again, settings = self.service.draining, self.service.settings
        self.service.draining = True
        self._end = time.monotonic() + (settings.drain_delay if self.started and not again else 0)
        if again:
            self.force_exit = number == signal.SIGINT
        else:
            grace = settings.drain_delay + settings.stop_timeout + CLOSE_SECONDS + 1
            exit_in(grace, 0, f"the service did not end in {grace:g} s; what is left is given up")

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second."""
        if self._end is not None and time.monotonic() >= self._end:
            self.should_exit = True
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own are not wanted: they are given back before the process has ended."""
        yield

    def _fail(self) -> None:
        self.failed = self.should_exit = True


def listening(host: str, port: int) -> list[socket.socket]:
    """One socket for each address of the host's name. Raises WeakpointsError with the reason."""
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                sockets.append(socket.create_server(address, family=family, backlog=BACKLOG))
            except OSError as error:  # `localhost` may have an address of IPv6 where there is none
                if error.errno != errno.EADDRNOTAVAIL or not sockets:
                    raise
    except OSError as error:
        for opened in sockets:
            opened.close()
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise WeakpointsError(f"can't listen on {host}, port {port}: {reason}") from error
    return sockets


def load_and_freeze(load: Callable[[], Detector]) -> Detector:
    """What `load` makes stays until the process ends, and all that was made before it.

    The garbage collector passes over it from now on. To look through torch's objects takes it 0.3
    s, in which nothing else runs.
    """
    detector = load()
    gc.collect()
    gc.freeze()
    return detector


def serve(settings: Settings, load: Callable[[], Detector] | None = None) -> int:
    """Serves until a signal comes, and returns the exit code.

    0 after a signal; 1 if the network can't be loaded or the device was lost; 2 if it can't listen
    or read its keys.
    """
    limit_malloc_arenas()
    try:
        server = Server(settings, partial(load_and_freeze, load or partial(loaded, settings)))
        sockets = listening(settings.host, settings.port)
    except WeakpointsError as error:
        log.critical("the service can't start: %s", error)
        return 2
    on_stop(server.stop)
    log.info("listening", extra={"host": settings.host, "port": sockets[0].getsockname()[1]})
    server.run(sockets)
    code = 1 if server.failed or not server.started else 0
    exit_in(
        CLOSE_SECONDS, code, f"the traces were not sent in {CLOSE_SECONDS:g} s; they are given up"
    )
    flush()
    return code
