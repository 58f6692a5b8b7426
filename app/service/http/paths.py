"""Paths of this service, wherever it is mounted."""

from starlette.types import Scope

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
