"""Which systems weakpoints runs on."""

import sys
from importlib.util import find_spec

from weakpoints.errors import WeakpointsError

NEEDED = ("fcntl", "resource")  # of Python's library, where there are locks and limits of POSIX


def check_platform() -> None:
    """Raises WeakpointsError on a system that is not POSIX, such as Windows."""
    missing = next((name for name in NEEDED if not _is_there(name)), None)
    if missing is not None:
        raise WeakpointsError(
            f"weakpoints needs Linux (macOS is not tested); this system, {sys.platform}, has no "
            f"{missing}. On Windows use WSL 2, or the container"
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module that was put aside
        return False
