"""What commands show: results on stdout, all else on stderr."""

import json
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(what: str, items: Iterable[T], total: int | None = None) -> Iterable[T]:
    return tqdm(items, desc=what, total=total, file=sys.stderr)


def show(as_json: bool, value: Any, text: str) -> None:
    print(json.dumps(value) if as_json else text)


def say(message: str, status: int = 1) -> int:
    print(f"weakpoints: {message}", file=sys.stderr)
    return status
