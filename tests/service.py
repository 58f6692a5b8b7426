"""The service on a real socket."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import numpy as np
from PIL import Image

from app.pipeline import Detector, Localization, Progress, Seen, silent
from app.server import Server
from app.settings import Settings


def encoded(image: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


@dataclass(frozen=True)
class Held(Detector):
    """A detector that waits for `gate`, and fails on photographs that are 66 pixels wide."""

    gate: threading.Event = field(default_factory=threading.Event)
    seen: list[int] = field(default_factory=list)

    def finish(self, seen: Seen, progress: Progress = silent) -> Localization:
        width = seen.prepared.image.shape[1]
        self.seen.append(width)
        if width == 66:
            raise RuntimeError("secret at /etc/passwd")
        if width != 64:  # the warm-up's
            self.gate.wait(30)
        return super().finish(seen, progress)


@contextmanager
def serving(load: Callable[[], Detector], wait: bool = True, **settings: object) -> Iterator[httpx2.Client]:
    """The service as `weakpoints serve` runs it, but in a thread; `wait` until it is ready."""
    server = Server(Settings(host="127.0.0.1", port=0, **settings), load)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, params={"patch": 14, "stride": 14}) as client:
            while wait and client.get("/readyz").status_code != 200:
                time.sleep(0.01)
            yield client
    finally:
        server.should_exit = True
        thread.join()
