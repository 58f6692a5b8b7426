"""Options given by name from Python: checked against the ranges that `Options` states."""

import operator
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le

from weakpoints.errors import BadOption
from weakpoints.options import HINTS, NAMES, Options, choose

BOUNDS = (  # of annotated_types: the class, its attribute, how it is checked and said
    (Ge, "ge", operator.ge, "greater than or equal to"),
    (Gt, "gt", operator.gt, "greater than"),
    (Le, "le", operator.le, "less than or equal to"),
)


def options_from(given: Mapping[str, Any]) -> Options:
    """The preset, with the given options instead of its own; None stands for not given.

    A class may be an index or a label, several are a list. Raises BadOption for an option that
    does not exist, or is out of its range.
    """
    for name in given:
        if name not in NAMES:
            names = sorted(NAMES)
            raise BadOption(
                f"there is no option {name!r}; options are {', '.join(names)}",
                option=name,
                known=names,
            )
    checked = {name: _checked(name, value) for name, value in given.items() if value is not None}
    return choose(checked.pop("preset", "default"), **checked)


def _checked(name: str, value: Any) -> Any:
    match name:
        case "target_class":
            return _target(value)
        case "roi":
            return _roi(value)
        case "background":
            if not re.fullmatch(r"[0-9a-fA-F]{6}", str(value)):
                raise _wrong(name, value, "six hexadecimal digits, RRGGBB, are needed")
            return value
    kinds = [kind for kind in get_args(HINTS[name])[:1]]
    (kind,) = [part for part in (get_args(kinds[0]) or kinds) if part is not type(None)][:1]
    if get_origin(kinds[0]) is Literal:
        choices = get_args(kinds[0])
        if value not in choices:
            raise _wrong(name, value, f"it is one of {', '.join(choices)}")
        return value
    number = _number(name, value, kind)
    for note in HINTS[name].__metadata__:
        for bound, attribute, holds, words in BOUNDS:
            if isinstance(note, bound) and not holds(number, limit := getattr(note, attribute)):
                raise _wrong(name, value, f"it should be {words} {limit}", limit=limit)
    return number


def _number(name: str, value: Any, kind: type) -> int | float:
    """numpy's numbers are numbers; True and False are none."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value) if kind is int else float(value)
    except (TypeError, ValueError):
        what = "a whole number" if kind is int else "a number"
        raise _wrong(name, value, f"{what} is needed") from None


def _target(value: Any) -> int | str:
    if isinstance(value, list | tuple):
        return ",".join(str(_target(entry)) for entry in value)
    if isinstance(value, str):
        return int(value) if value.isdecimal() else value
    return int(_number("target_class", value, int))


def _roi(value: Any) -> tuple[int, int, int, int]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        x, y, w, h = (
            int(part) if isinstance(part, str) else operator.index(part) for part in parts
        )
    except (TypeError, ValueError):
        raise _wrong("roi", value, "four whole numbers x, y, w, h are needed") from None
    return x, y, w, h


def _wrong(name: str, value: object, rule: str, **figures: Any) -> BadOption:
    given = str(value)[:200]
    return BadOption(f"{name} is {given!r}: {rule}", option=name, actual=given, **figures)
