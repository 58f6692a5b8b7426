"""What is read off a request before its body: path, caller, id, form of the answer, options."""

import ipaddress
import re
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress

from starlette.requests import Request
from starlette.types import Scope

from weakpoints.errors import BadOption

NETWORK = 64  # bits of an IPv6 address that one host has to itself
HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Paths that are asked every few seconds: not logged, not traced.
QUIET = {
    "/livez",
    "/readyz",
    "/startupz",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
}


def own_path(scope: Scope) -> str:
    """The path below where this application is mounted.

    ASGI's `path` has the mount in it: of `uvicorn --root-path`, or of an application around ours.
    """
    path: str = scope["path"]
    mount: str = scope.get("root_path", "").rstrip("/")
    below = path.removeprefix(mount)
    return below if mount and below.startswith("/") and path.startswith(mount) else path


def is_quiet(scope: Scope) -> bool:
    """Whether a probe or a scraper asks."""
    return own_path(scope) in QUIET


def preferred(accept: str, usual: str, *others: str) -> str:
    """The media type that an Accept header gives the highest weight (RFC 9110, 12.5.1).

    One of `others` has to be named; among equals it comes before the usual one. Whoever accepts
    none of them gets the usual one.
    """
    weights: dict[str, float] = {}
    for named in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in named.split(";"))
        weights[media_type] = next((_weight(p[2:]) for p in parameters if p[:2] == "q="), 1.0)
    wildcards = (usual, f"{usual.partition('/')[0]}/*", "*/*")
    least = next((weights[pattern] for pattern in wildcards if pattern in weights), 0.0)
    # Among equals the first, which is the order in which the route names them.
    best = max(others, key=lambda other: weights.get(other, 0.0), default=usual)
    return best if weights.get(best, 0.0) > 0 and weights[best] >= least else usual


def _weight(text: str) -> float:
    """0 where it is none."""
    with suppress(ValueError):
        return float(text)
    return 0.0


def caller_of(request: Request) -> str:
    """By its key where keys are asked for, else by its address."""
    key: str | None = getattr(request.state, "key", None)
    if key:
        return key
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    # The same host, through a socket that takes both families.
    if address.version == 6 and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, NETWORK), False)) if address.version == 6 else host


def request_id_of(headers: Mapping[str, str]) -> str:
    """The caller's X-Request-ID where it is harmless, else a new one of 32 hex digits."""
    given = headers.get("x-request-id", "")
    return given if HARMLESS.fullmatch(given) else uuid.uuid4().hex


def reject_repeated_options(request: Request) -> None:
    """Raises BadOption for an option that is given twice: one of the two would be dropped."""
    reject_repeated(request, several=())


def reject_repeated(request: Request, several: Collection[str]) -> None:
    """The same, but for options that may be given several times."""
    for name in set(request.query_params) - set(several):
        if len(values := request.query_params.getlist(name)) > 1:
            raise BadOption(
                f"{name[:100]} is given {len(values)} times; once is expected, and several classes "
                "of target_class have commas between them",
                option=name[:100],
                limit=1,
                actual=len(values),
            )
