"""A service of this checkout, for what the documentation shows and benchmarks measure."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
SERVE = (sys.executable, "-m", "weakpoints", "serve")
START = 180  # seconds within which the service has to be ready


@contextmanager
def serving(
    *command: str,
    enter: Callable[[], None] | None = None,
    port: int | None = None,
    quiet: bool = False,
    **settings: str,
) -> Iterator[tuple[str, int]]:
    """The address of the service that the command starts, and its process's number, once ready.

    It is stopped at the end.

    enter: called in its process before the program starts. port: a free one if not told.
    quiet: its log is dropped. settings: without WEAKPOINTS_.

    The command is run in a process group of its own: `make` does not pass signals on.
    """
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    given = {f"WEAKPOINTS_{name}": text for name, text in settings.items()}
    environment = {**os.environ, **given, "WEAKPOINTS_PORT": str(port)}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL if quiet else None,
        stdout=sys.stderr,
        start_new_session=True,
        preexec_fn=enter,
    )
    try:
        wait(address, process)
        yield address, process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


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
