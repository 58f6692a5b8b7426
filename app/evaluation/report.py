"""Figures as text."""

from collections.abc import Iterator, Mapping
from typing import Any


def flat(figures: Mapping[str, Any]) -> str:
    """A line a method: its numbers by name, those keyed by alpha in a row. Nested tables follow, indented by their name."""
    return "\n".join(_lines(figures))


def _lines(figures: Mapping[str, Any], under: str = "") -> Iterator[str]:
    for name, value in figures.items():
        title = f"{under}{name}"
        if isinstance(value, list):
            yield from (f"{title:24} " + "  ".join(f"{k} {_number(v)}" for k, v in row.items()) for row in value)
        elif not isinstance(value, Mapping):
            yield f"{title:24} {_number(value)}"
        elif any(isinstance(each, Mapping) and "points_per_image" in each for each in value.values()):
            yield from _lines(value, f"{title}/")
        else:
            yield f"{title:24} " + "  ".join(f"{k} {_cell(v)}" for k, v in value.items() if "interval" not in k and k not in HIDDEN)


HIDDEN = {"behind_ours", "by_class"}


def _cell(value: Any) -> str:
    return "/".join(_number(each) for each in value.values()) if isinstance(value, Mapping) else _number(value)


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
