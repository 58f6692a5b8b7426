"""Where a task's photograph is: on the Label Studio that is set, or nowhere.

A task's address is the annotator's input. What is asked for is put together here, from the origin
that is set and a path; no host of a task is ever connected to.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from weakpoints.errors import BadImage

CLOUDS = ("s3://", "gs://", "azure-blob://")
ODD = re.compile(r"[\x00-\x20\x7f\\]")  # of no address, and read differently by different readers
HTTP_PORTS = {"http": 80, "https": 443}
LONGEST_URL = 8192  # characters


@dataclass(frozen=True)
class Origin:
    """Of WEAKPOINTS' setting: scheme, host and port, and the path below which Label Studio is."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Raises ValueError for what is no address of a server."""
        parts = urlsplit(url)
        if parts.scheme not in HTTP_PORTS or not parts.hostname or parts.username is not None:
            raise ValueError("an address such as http://labelstudio:8080 is expected")
        return cls(
            parts.scheme,
            parts.hostname,
            parts.port or HTTP_PORTS[parts.scheme],
            parts.path.rstrip("/"),
        )

    @property
    def base(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == HTTP_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def api(self, path: str) -> str:
        """The whole address of a path of Label Studio's own."""
        return f"{self.base}{self.path}{path}"


def photograph_url(address: Any, origin: Origin, task: object) -> str:
    """The whole address of a task's photograph. Raises BadImage for one that is elsewhere."""
    if not isinstance(address, str) or not address:
        raise BadImage("the task has no address of a photograph in the field that `<Image>` names")
    if len(address) > LONGEST_URL or ODD.search(address):
        raise BadImage("the task's address has characters that no address has, or too many")
    if address.startswith(CLOUDS):
        if type(task) is not int:
            raise BadImage("the task has no number, which is needed for a photograph in a cloud")
        return origin.api(f"/tasks/{task}/presign/?fileuri={quote(address, safe='')}")
    parts = urlsplit("/" + address if address.startswith("upload/") else address)
    path = parts.path
    if parts.scheme or parts.netloc:
        _check_host(address, origin)
        path = _below(path, origin)
    elif path.startswith("/upload/"):
        path = "/data" + path
    elif not path.startswith("/"):
        raise BadImage(f"the task's address {address[:100]!r} is no address of Label Studio's")
    elif origin.path and path.startswith(origin.path + "/"):
        path = _below(path, origin)
    if ".." in unquote(unquote(path)).split("/"):
        raise BadImage(f"the task's address {address[:100]!r} leads out of its folder")
    return origin.api(path) + (f"?{parts.query}" if parts.query else "")


def _check_host(address: str, origin: Origin) -> None:
    """Raises BadImage where it is another server's."""
    try:
        parts = urlsplit(address)
        there = parts.scheme, parts.hostname, parts.port or HTTP_PORTS.get(parts.scheme)
    except ValueError:
        there = "", None, None
    if there != (origin.scheme, origin.host, origin.port) or "@" in urlsplit(address).netloc:
        raise BadImage(
            f"the task's photograph is at {address[:100]!r}; photographs are fetched from "
            "LABEL_STUDIO_URL alone: upload it there, or send it through a storage of Label Studio",
            actual=address[:100],
        )


def _below(path: str, origin: Origin) -> str:
    if not path.startswith(origin.path + "/"):
        raise BadImage(
            f"the task's photograph is at {path[:100]!r}, which is not below the path of "
            "LABEL_STUDIO_URL",
            actual=path[:100],
        )
    return path.removeprefix(origin.path)
