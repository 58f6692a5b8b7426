"""What commands show: results on stdout, all else on stderr."""

import json
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def bar(what: str, items: Iterable[T], total: int | None = None) -> Iterable[T]:
    """`items`, with a progress bar if there is a stderr: a daemon may have none."""
    if sys.stderr is None:
        return items
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, file=sys.stderr)


def show(as_json: bool, value: Any, text: str) -> None:
    """The result of a command: `value` as JSON, or `text` for people."""
    print(json.dumps(value) if as_json else text)


def say(message: str, status: int = 1) -> int:
    """Write a diagnostic; returns `status`, the exit code that goes with it."""
    if sys.stderr is not None:  # None would be stdout
        print(f"weakpoints: {message}", file=sys.stderr)
    return status
