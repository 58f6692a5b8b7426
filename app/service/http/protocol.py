"""HTTP/1.1 on a connection: uvicorn's, with a bound in time and bytes for every part of it.

uvicorn has a timer for idle connections alone. Here a head must come in time, and an answer must be
read. What is left of a body that nobody wants is read and dropped, so that the answer arrives.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.service.http.connections import Connections
from app.service.http.problem_document import problem_document
from app.settings import Settings

log = logging.getLogger("weakpoints")
MOST_HEAD_BYTES = (
    2**16
)  # bytes of a request's head, or of what frames its body between two pieces of it
PIPELINE = 256  # requests of one connection that may wait behind the first
UNWANTED = 2**26  # bytes of a body that are read and dropped once the answer is sent


class Transport(asyncio.Transport):
    """The connection's transport. `close` is left to the protocol, which may have to read first.

    Closing a socket while bytes of the body are still coming resets the connection, and the peer
    loses an answer that it has not read yet (RFC 9112, 9.6).
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.raw, self._close, self._closing = transport, close, False

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._close()

    def is_closing(self) -> bool:
        return self._closing or self.raw.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.raw.write(data)

    def pause_reading(self) -> None:
        self.raw.pause_reading()

    def resume_reading(self) -> None:
        self.raw.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.raw.get_extra_info(name, default)


class Protocol(HttpToolsProtocol):
    """uvicorn makes one for each connection. Timers are named by what the connection waits for."""

    transport: Transport

    def __init__(
        self, *args: Any, settings: Settings, open_connections: Connections, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._settings, self._open = settings, open_connections
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._body_expected = False  # a head has come, and its body has not ended
        self._framing = 0  # bytes since the last piece of a body, or since the last message
        self._dropped = 0  # bytes of an unwanted body
        self._drop_until = 0.0  # on the loop's clock
        self._unsent = 0  # bytes in the transport's buffer when it was last looked at
        self._answered: RequestResponseCycle | None = None  # the request that is answered now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = cast(asyncio.Transport, transport)
        raw.set_write_buffer_limits(0)  # any byte that is not taken calls pause_writing
        super().connection_made(Transport(raw, self._finish))
        self._open.opened(self)
        self._wait("head", self._settings.header_timeout, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._open.closed(self)
        self._unset_keepalive_if_required()
        if self._answered and not self._answered.response_complete:
            self._answered.disconnected = True  # uvicorn tells the last of a pipeline alone
            self._answered.message_event.set()
        super().connection_lost(exc)

    def abort(self) -> None:
        self.transport.raw.abort()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return self._drop(len(data))
        if not self._body_expected:
            self._wait("head", self._settings.header_timeout, self._head_is_late)
        self._framing += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            return self.send_400_response("this is no HTTP/1.1 request")
        if self._framing > MOST_HEAD_BYTES:
            self._refuse(
                431, f"the head, or what frames the body, has more than {MOST_HEAD_BYTES} bytes"
            )

    def _feed(self, data: bytes) -> None:
        """Gives the bytes to the parser.

        An offer to change to another protocol is not taken up: the request is answered as it is.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            method, version = self.parser.get_method(), self.parser.get_http_version()
            if method == b"CONNECT":
                return self._refuse(405, "this is no proxy")
            head = [b"%s %s HTTP/%s" % (method, self.url, version.encode())]
            head += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            self._feed(b"\r\n".join([*head, b"", b""]) + data[upgrade.args[0] :])

    # The parser calls these, in this order.

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._body_expected:  # else it is a trailer, which nobody asked for
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._stop_waiting("head")
        self._framing, self._body_expected = 0, True
        self._open.busy(self)
        if len(self.pipeline) >= PIPELINE:
            self.abort()
            raise httptools.HttpParserError  # ends the parser's work on what has come
        self.scope["state"]["crowded"] = self._open.crowded
        super().on_headers_complete()
        if self.pipeline:
            self.flow.resume_reading()  # uvicorn pauses here, and a hang-up would not be noticed
        else:
            self._answered = self.cycle

    def on_body(self, body: bytes) -> None:
        self._framing = 0
        if self.cycle.response_complete:
            self._drop(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._framing, self._body_expected = 0, False
        self._stop_waiting("drop")
        super().on_message_complete()

    # An answer is sent.

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._answered, _ = self.pipeline[-1]
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()  # what has come is answered before more is taken
        elif self.cycle.response_complete:
            self._rest()
            if self._body_expected and not self.transport.is_closing():
                self._begin_to_drop()

    def _rest(self) -> None:
        """Idle once the last answer has been taken by the system."""
        if self.cycle and self.cycle.response_complete and not self.flow.write_paused:
            self._open.idle(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self.transport.raw.get_write_buffer_size()
        self._wait("reader", self._settings.write_timeout, self._look_whether_it_is_read)

    def resume_writing(self) -> None:
        self._stop_waiting("reader")
        super().resume_writing()
        self._rest()

    def _look_whether_it_is_read(self) -> None:
        before, self._unsent = self._unsent, self.transport.raw.get_write_buffer_size()
        if self._unsent < before:
            seconds = self._settings.write_timeout
            return self._wait("reader", seconds, self._look_whether_it_is_read)
        log.info("an answer was not read in time", extra={"unsent_bytes": self._unsent})
        self.abort()

    # It ends.

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        """Without the application: what came is no request that it could be given."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            return self.abort()  # the peer takes what comes now for the answer of the one before
        title = STATUS_LINE[status][13:-2].decode()
        body = json.dumps(problem_document(status, f"http-{status}", title, detail)).encode()
        head = b"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d"
        self.transport.write(STATUS_LINE[status] + head % len(body) + b"\r\n\r\n" + body)
        self._body_expected = True  # who knows
        self.transport.close()

    def _head_is_late(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.abort()

    def _finish(self) -> None:
        """Closes the connection.

        Where a body is still coming, it closes for sending alone; and altogether once the body has
        come.
        """
        if self._body_expected:
            self._open.idle(self)
            self.transport.raw.write_eof()
            self.flow.resume_reading()
            self._begin_to_drop()
        else:
            self.transport.raw.close()

    def _begin_to_drop(self) -> None:
        self._dropped = 0
        self._drop_until = self.loop.time() + self._settings.upload_timeout
        self._wait("drop", self._settings.upload_grace, self.abort)

    def _drop(self, count: int) -> None:
        self._stop_waiting("drop")
        self._dropped += count
        left = self._drop_until - self.loop.time()
        if self._dropped > UNWANTED or left <= 0:
            return self.abort()
        self._wait("drop", min(left, self._settings.upload_grace), self.abort)

    def _wait(self, what: str, seconds: float, then: Callable[[], None]) -> None:
        """A timer that runs already goes on."""
        if what not in self._timers:
            self._timers[what] = self.loop.call_later(seconds, self._late, what, then)

    def _late(self, what: str, then: Callable[[], None]) -> None:
        del self._timers[what]
        then()

    def _stop_waiting(self, what: str) -> None:
        if timer := self._timers.pop(what, None):
            timer.cancel()
