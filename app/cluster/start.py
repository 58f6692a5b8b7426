"""Ray, only where it is asked for.

The share of the cluster that each worker takes, and the connection.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from weakpoints.errors import WeakpointsError

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "app.cluster.proxy.middlewares",
    "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
}
"""What Ray's processes must be started with, by `ray start`, too.

No usage statistics; our errors from its proxies; and requests go to the less loaded replica rather
than to the nearest until it is full.
"""

REACH_SECONDS = 5.0  # seconds in which a cluster's address must take a connection


@dataclass(frozen=True)
class Share:
    """So many workers of a collection, or replicas of the service.

    Each has so many cores and so much of a GPU.
    """

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0

    @property
    def resources(self) -> dict[str, Any]:
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}


def require_ray() -> None:
    if find_spec("ray") is None:
        raise WeakpointsError(
            "--engine ray needs Ray, which is not installed: pip install '.[ray]'"
        )


def _join_cluster(address: str, how: dict[str, Any]) -> None:
    """Raises WeakpointsError where there is no cluster, soon: Ray itself tries for 14 minutes."""
    import ray

    where = f"the cluster of RAY_ADDRESS={address!r} can't be reached"
    place = urlsplit(address if "://" in address else f"//{address}")
    try:
        if place.hostname and place.port:
            socket.create_connection((place.hostname, place.port), REACH_SECONDS).close()
        ray.init(**how)
    except (OSError, ValueError, RuntimeError) as error:
        what = where if address else "Ray can't be started"
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeakpointsError(f"{what}: {first}") from error


@contextmanager
def connected(**how: Any) -> Iterator[None]:
    """Connects to a Ray cluster for the time of the `with`.

    It is the cluster that `RAY_ADDRESS` names, or that runs here already. Otherwise one is started
    on this machine, and ends with this. What Ray says meanwhile goes to stderr, for on stdout it
    would mix with results. A process that is connected already stays so.
    """
    require_ray()
    import ray

    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ours = not ray.is_initialized()
    with redirect_stdout(sys.stderr):
        if ours:
            _join_cluster(os.environ.get("RAY_ADDRESS", ""), how)
        try:
            yield
        finally:
            if ours:
                ray.shutdown()
