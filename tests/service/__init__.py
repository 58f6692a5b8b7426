"""The service on a real socket."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
import torch
from PIL import Image

from app.service.server import Server
from app.settings import Settings
from weakpoints.method.detector import Detector
from weakpoints.method.stages import Evidence, NetworkPass, Prepared
from weakpoints.progress import Progress, no_progress


def encoded(image: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


@dataclass(frozen=True)
class Held(Detector):
    """A detector that waits for `gate`, and fails on photographs that are 66 pixels wide."""

    gate: threading.Event = field(default_factory=threading.Event)
    seen: list[int] = field(default_factory=list)

    def forward_backward(self, waiting: Sequence[Prepared]) -> list[NetworkPass]:
        if any(prepared.frame.width == 66 for prepared in waiting):
            raise RuntimeError("secret at /etc/passwd")
        return super().forward_backward(waiting)

    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        width = prepared.frame.width
        self.seen.append(width)
        if width != 64:  # the warm-up's
            self.gate.wait(30)
        return super().occlude(prepared, seen, progress)


@dataclass(frozen=True)
class Faulty(Detector):
    """Does by the photograph's width: 70 waits chunk after chunk, 71 lacks memory, 72 loses the
    device.
    """

    chunks: list[int] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        with self.device():
            match prepared.frame.width:
                case 70:
                    try:
                        while True:
                            time.sleep(0.01)
                            self.chunks.append(1)
                            progress("occlusion", 1, 2)
                    finally:
                        self.stopped.set()
                case 71:
                    raise torch.OutOfMemoryError("secret")
                case 72:
                    raise torch.AcceleratorError("secret")
        return super().occlude(prepared, seen, progress)


def faulty(detector: Detector) -> Faulty:
    return Faulty(detector.occluder, detector.model, detector.input)


@dataclass
class Clock:
    """In the place of the module `time`: it stands still unless a test moves it."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


def until(true: Callable[[], object], seconds: float = 240) -> None:
    """Waits for what another thread or process does, however busy the machine."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{seconds} s are over"
        time.sleep(0.01)


def picture(width: int) -> bytes:
    return encoded(np.random.default_rng(width).integers(0, 255, (60, width, 3), np.uint8))


def slow_picture(times: int = 20_000) -> bytes:
    """A progressive JPEG of a megapixel, its last scan so many times: 20,000 are half a minute."""
    data = encoded(Image.new("L", (1280, 800), 90), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xc4") : -2] * times + b"\xff\xd9"


def post(client: httpx2.Client, width: int, **headers: str) -> httpx2.Response:
    return client.post(
        "/detect", content=picture(width), headers={"content-type": "image/png", **headers}
    )


def request_head(
    client: httpx2.Client, length: int, accept: str = "*/*"
) -> tuple[socket.socket, bytes]:
    connection = socket.create_connection((client.base_url.host, client.base_url.port))
    lines = (
        "POST /detect HTTP/1.1",
        "host: x",
        f"accept: {accept}",
        "content-type: image/png",
        f"content-length: {length}",
    )
    return connection, "".join(f"{line}\r\n" for line in (*lines, "")).encode()


STREAM = {"accept": "text/event-stream"}


def dropped(client: httpx2.Client) -> dict[str, int]:
    """Requests given up, by reason."""
    found = re.findall(
        r'^weakpoints_dropped_total\{reason="(\w+)"\} (\S+)',
        client.get("/metrics").text,
        re.MULTILINE,
    )
    return {reason: int(float(count)) for reason, count in found}


@contextmanager
def serving(
    load: Callable[[], Detector], wait: bool = True, **settings: object
) -> Iterator[httpx2.Client]:
    """The service as `weakpoints serve` runs it, but in a thread; `wait` until it is ready."""
    with running(load, wait, **settings) as (_, client):
        yield client


@contextmanager
def running(
    load: Callable[[], Detector], wait: bool = True, **settings: object
) -> Iterator[tuple[Server, httpx2.Client]]:
    """`serving`, and the server itself, whose state tells when something has come."""
    # Starting a decoder costs more than most tests: one, unless a test is of several.
    server = Server(Settings(host="127.0.0.1", port=0, **{"decoders": 1} | settings), load)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{port}",
            timeout=60,
            params={"patch": 14, "stride": 14},
            verify=False,  # no TLS here: reading the authorities takes as long as a detection
        ) as client:
            if wait:  # without asking over and over, which would keep the loading from a core
                until(lambda: server.service.ready or not thread.is_alive())
            yield server, client
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def process(
    log: Path, command: str = "-m weakpoints serve", **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], httpx2.Client]]:
    """A service in a process of its own, ready, with the bundled network; its log is in a file.

    At the end it gets SIGTERM if it still runs. It is told its port in both ways: WEAKPOINTS_PORT
    and UVICORN_PORT.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = (
        os.environ | {"WEAKPOINTS_PORT": str(port), "UVICORN_PORT": str(port)} | environment
    )
    with log.open("w") as stderr:
        started = subprocess.Popen(
            [sys.executable, *command.split()], env=environment, stderr=stderr
        )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + 300  # of a busy machine
            while not _ready(client):
                late = time.monotonic() > deadline or started.poll() is not None
                assert not late, log.read_text()
                time.sleep(0.1)
            yield started, client
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            started.wait(60)


def _ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False
