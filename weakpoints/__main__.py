"""The command `weakpoints`, of the service that lies beside this library.

The only module here that knows of the service, whose package is called `app`. So may be a package
of the caller's: ours is looked for first.
"""

import sys
from pathlib import Path

from weakpoints.errors import WeakpointsError
from weakpoints.platforms import check_platform


def main() -> int:
    """Runs a command; returns its exit code."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    try:
        check_platform()
    except WeakpointsError as error:
        print(f"weakpoints: {error}", file=sys.stderr)
        return 1
    from app.cli.main import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
