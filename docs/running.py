"""A service of this checkout on a free port, for what the documentation shows."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
START = 120  # seconds within which the service has to be ready


@contextmanager
def serving(*command: str, enter: Callable[[], None] | None = None) -> Iterator[str]:
    """The address of the service that the command starts, once it is ready.

    It is stopped at the end.

    enter: called in its process before the program starts.

    The command is run in a process group of its own: `make` does not pass signals on.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "WEAKPOINTS_PORT": str(port)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, preexec_fn=enter
    )
    try:
        wait(address, process)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def wait(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"the service ended with status {process.returncode}")
        with suppress(httpx2.TransportError):  # nobody listens yet
            if httpx2.get(f"{address}/readyz").is_success:
                return
        time.sleep(0.2)
    raise SystemExit(f"the service was not ready within {START} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
