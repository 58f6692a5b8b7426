"""Connections: every part of a request has a bound in time and bytes, and an answer arrives."""

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from app.service.http import protocol
from app.service.http.connections import OTHER_FILES, PROBE_CONNECTIONS, Connections
from app.service.server import config
from app.settings import Settings
from tests.service import until

PROBLEM = b"content-type: application/problem+json\r\n"


class Toy:
    """Answers by path: /body its length, /early before the body, /big 64 MiB, /wait when told."""

    def __init__(self) -> None:
        self.gate, self.hung_up, self.ended = asyncio.Event(), threading.Event(), threading.Event()
        self.scopes: list[Scope] = []
        self.pieces = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        answer = b"yes"
        match scope["path"]:
            case "/body":
                answer = b"%d" % len(await self.body(receive))
            case "/big":
                answer = bytes(2**26)
            case "/wait":
                await self.body(receive)
                await self.wait(receive)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": length(answer)})
            await send({"type": "http.response.body", "body": answer, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            self.ended.set()

    async def body(self, receive: Receive) -> bytes:
        body, more = b"", True
        while more:
            message: Message = await receive()
            body, more = body + message["body"], message["more_body"]
            self.pieces += 1
        return body

    async def wait(self, receive: Receive) -> None:
        gone = asyncio.ensure_future(receive())
        told = asyncio.ensure_future(self.gate.wait())
        await asyncio.wait({gone, told}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.hung_up.set()
        gone.cancel()
        told.cancel()


def length(answer: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % len(answer))]


class Peer:
    """A caller that writes what it likes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.got = bytearray()

    def send(self, data: bytes) -> bool:
        """False where the service has closed."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def ask(self, path: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> None:
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""])
        self.send(head.encode() + body)

    def answer(self) -> bytes:
        """Head and body, whose length the head says; what came behind it is the next one's."""
        while (end := self.got.find(b"\r\n\r\n") + 4) < 4:
            self.receive()
        head = bytes(self.got[:end]).lower()
        end += int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
        while len(self.got) < end:
            self.receive()
        answer, self.got = bytes(self.got[:end]), self.got[end:]
        return answer

    def receive(self) -> None:
        data = self.socket.recv(2**20)
        assert data, "closed"
        self.got += data

    def closed(self) -> bool:
        """Waits until the service has closed; what it sent before is dropped."""
        try:
            while self.socket.recv(2**16):
                pass
        except ConnectionError:
            pass
        return True


class Service:
    def __init__(self, **settings: object) -> None:
        self.app, self.peers = Toy(), list[Peer]()
        given = Settings(port=0, **settings)
        self.config = config(self.app, given)
        self.config.lifespan = "off"
        self.server = uvicorn.Server(self.config)
        self.thread = threading.Thread(target=self.server.run)

    def peer(self) -> Peer:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.peers.append(Peer(port))
        return self.peers[-1]

    @property
    def open(self) -> int:
        return len(self.server.server_state.connections)


@contextmanager
def toy(**settings: object) -> Iterator[Service]:
    service = Service(stop_timeout=1, **settings)
    service.thread.start()
    until(lambda: service.server.started)
    try:
        yield service
    finally:
        for peer in service.peers:
            peer.socket.close()
        service.server.should_exit = True
        service.thread.join()
    assert not service.open


@pytest.fixture(params=["asyncio", "uvloop"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn takes uvloop where it is installed."""
    configured = config

    def with_loop(*args: object) -> uvicorn.Config:
        made = configured(*args)
        made.loop = request.param
        return made

    monkeypatch.setitem(globals(), "config", with_loop)


@pytest.mark.parametrize(
    "lengths",
    [
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 3"),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Transfer-Encoding: chunked, gzip",),
        ("Content-Length : 3",),
    ],
)
def test_a_body_of_two_lengths_is_400_and_closes(lengths: tuple[str, ...]) -> None:
    with toy() as service:
        peer = service.peer()
        peer.ask("/body", *lengths, method="POST", body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        answer = peer.answer()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert PROBLEM in answer
        assert peer.closed()
        assert all(scope["path"] != "/smuggled" for scope in service.app.scopes)


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_an_answer_before_the_body_arrives(connection: str) -> None:
    """The body is far larger than what the system holds for a connection."""
    body = bytes(30_000_000)
    with toy() as service:
        for _ in range(3):
            peer = service.peer()
            peer.ask(
                "/early", f"Connection: {connection}", f"Content-Length: {len(body)}", method="POST"
            )
            assert peer.send(body)
            assert peer.answer().endswith(b"yes")
            if connection == "keep-alive":
                peer.ask("/again")
                assert peer.answer().endswith(b"yes")


def test_a_refusal_of_the_parser_arrives_too() -> None:
    with toy() as service:
        peer = service.peer()
        peer.ask("/early", "Broken : yes", "Content-Length: 20000000", method="POST")
        assert peer.send(bytes(20_000_000))
        assert peer.answer().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_no_more_than_so_much_of_an_unwanted_body_is_read(
    connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "UNWANTED", 2**20)
    with toy() as service:
        peer, piece = service.peer(), bytes(2**16)
        peer.ask("/early", f"Connection: {connection}", "Content-Length: 999999999", method="POST")
        sent = 0
        while peer.send(piece):
            sent += len(piece)
            assert sent < 2**26
        until(lambda: not service.open)


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
@pytest.mark.parametrize("bound", [{"upload_grace": 0.1}, {"upload_timeout": 0.3}])
def test_an_unwanted_body_has_its_time(connection: str, bound: dict[str, float]) -> None:
    with toy(**bound) as service:
        peer = service.peer()
        peer.ask("/early", f"Connection: {connection}", "Content-Length: 999999", method="POST")
        assert peer.answer().endswith(b"yes")

        def gone() -> bool:
            if "upload_timeout" in bound:
                peer.send(b"x")
            return not service.open

        until(gone)


def test_a_late_head_is_cut_off_and_a_slow_answer_is_not() -> None:
    with toy(header_timeout=0.5, keep_alive=30) as service:
        (waits := service.peer()).ask("/wait")  # each head at once, for it has its time
        (again := service.peer()).ask()
        (blank := service.peer()).ask()
        silent, slow = service.peer(), service.peer()
        for peer in (again, blank):
            assert peer.answer().endswith(b"yes")
        slow.send(b"GET / HTTP/1.1\r\nHost: ")
        again.send(b"GET")
        blank.send(b"\r\n")
        assert all(peer.closed() for peer in (silent, slow, again, blank))
        service.server.servers[0].get_loop().call_soon_threadsafe(service.app.gate.set)
        assert waits.answer().endswith(b"yes")


def test_an_idle_connection_is_kept_and_then_closed() -> None:
    with toy(keep_alive=0.2, header_timeout=30) as service:
        peer = service.peer()
        peer.ask()
        assert peer.answer().endswith(b"yes")
        assert peer.closed()


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nX: "])
def test_a_head_has_an_end(begin: bytes) -> None:
    with toy() as service:
        peer = service.peer()
        assert peer.send(begin + b"x" * 2**17)
        assert peer.answer().startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begin", [b"1;x=", b"1\r\nx\r\n0\r\nX: "])
def test_a_chunk_s_extension_and_a_trailer_have_an_end(begin: bytes) -> None:
    with toy() as service:
        peer, sent = service.peer(), 0
        peer.ask("/body", "Transfer-Encoding: chunked", method="POST", body=begin)
        while peer.send(b"x" * 2**14):
            sent += 2**14
            assert sent < 2**24
        until(lambda: not service.open)


def test_a_trailer_becomes_no_header() -> None:
    with toy() as service:
        peer = service.peer()
        peer.ask("/body", "Transfer-Encoding: chunked", method="POST", body=b"1\r\nx\r\n0\r\n")
        until(lambda: service.app.scopes)
        peer.send(b"X-API-Key: mine\r\n\r\n")
        assert peer.answer().endswith(b"1")
        assert b"x-api-key" not in dict(service.app.scopes[0]["headers"])


def test_chunks_of_one_byte_are_handed_on_together() -> None:
    with toy() as service:
        peer = service.peer()
        chunks = b"1\r\nx\r\n" * 50_000
        peer.ask("/body", "Transfer-Encoding: chunked", method="POST", body=chunks + b"0\r\n\r\n")
        assert peer.answer().endswith(b"50000")
        assert service.app.pieces < 100


def test_an_answer_that_nobody_reads_is_given_up_and_one_that_is_read_slowly_is_not() -> None:
    """The system takes a part of it; the rest waits for the peer."""
    with toy(write_timeout=1) as service:
        unread, read = service.peer(), service.peer()
        unread.ask("/big")
        read.ask("/big")
        size = 0
        while size < 2**26 and (data := read.socket.recv(2**22)):
            size += len(data)
            time.sleep(0.01)
        assert size > 2**26
        until(lambda: service.open == 1)


def test_requests_that_were_sent_together_are_answered_in_order() -> None:
    with toy() as service:
        peer = service.peer()
        for size in (3, 0, 5):
            peer.ask("/body", f"Content-Length: {size}", method="POST", body=b"x" * size)
        assert [peer.answer()[-1:] for _ in range(3)] == [b"3", b"0", b"5"]


def test_the_first_of_a_pipeline_is_told_of_the_hang_up() -> None:
    with toy() as service:
        peer = service.peer()
        peer.ask("/wait")
        until(lambda: service.app.scopes)
        peer.ask("/wait")
        peer.socket.close()
        assert service.app.hung_up.wait(30)


def test_a_pipeline_has_an_end() -> None:
    with toy() as service:
        peer = service.peer()
        peer.ask("/wait")
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert peer.closed()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_offer_of_http_2_is_answered_without_it(version: str) -> None:
    """As Java's client makes one with every request."""
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAI\r\n"
    head = f"POST /body HTTP/{version}\r\nHost: x\r\n{offer}Content-Length: 5\r\n\r\n"
    with toy() as service:
        peer = service.peer()
        peer.send(head.encode() + b"he")
        until(lambda: service.app.scopes)
        peer.send(b"llo")
        assert peer.answer().endswith(b"5")
        assert service.app.scopes[0]["http_version"] == version
        if version == "1.1":
            peer.ask()
            assert peer.answer().endswith(b"yes")


def test_this_is_no_proxy() -> None:
    with toy() as service:
        peer = service.peer()
        peer.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.answer().startswith(b"HTTP/1.1 405 ")


def test_nonsense_behind_a_request_is_no_answer_to_it() -> None:
    with toy() as service:
        peer = service.peer()
        peer.ask("/wait")
        peer.send(b"nonsense\r\n\r\n")
        assert service.app.hung_up.wait(30)
        assert peer.closed()


def test_one_connection_too_many_closes_the_longest_idle_one() -> None:
    with toy(connections=2) as service:
        waits = service.peer()
        waits.ask("/wait")
        until(lambda: service.app.scopes)
        idle, new = service.peer(), service.peer()
        assert idle.closed()
        new.ask()
        assert new.answer().endswith(b"yes")


def test_where_every_connection_is_busy_the_application_is_told_and_some_are_left_for_probes() -> (
    None
):
    with toy(connections=2) as service:
        for busy in range(2 + PROBE_CONNECTIONS):
            service.peer().ask("/wait")
            until(lambda: len(service.app.scopes) == busy + 1)  # noqa: B023
        assert service.peer().closed()
        crowded = [scope["state"]["crowded"] for scope in service.app.scopes]
        assert crowded == [False] * 2 + [True] * PROBE_CONNECTIONS


def test_where_few_files_may_be_open_connections_are_fewer() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))  # as `ulimit -n 256` does
    try:
        assert Connections(512).most + PROBE_CONNECTIONS + OTHER_FILES == 256
        assert Connections(50).most == 50
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
