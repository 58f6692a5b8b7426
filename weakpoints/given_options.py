"""Options as people and programs give them: as text, JSON, Python's or numpy's values.

HTTP, the command line and Python all ask `checked`, so that all take and refuse the same values,
in the same words.
"""

import operator
import re
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from itertools import islice
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le

from weakpoints.class_names import MOST_TARGETS
from weakpoints.errors import BadOption
from weakpoints.options import HINTS, NAMES, Box, Options, choose

LONGEST = 100 * MOST_TARGETS  # characters of a target_class
ROI = re.compile(r"[0-9]{1,9}(,[0-9]{1,9}){3}")
COLOUR = re.compile(r"[0-9a-fA-F]{6}")
BOUNDS = (  # of annotated_types: the class, its attribute, how it is checked and said
    (Ge, "ge", operator.ge, "greater than or equal to"),
    (Gt, "gt", operator.gt, "greater than"),
    (Le, "le", operator.le, "less than or equal to"),
)


def options_from(given: Mapping[str, Any]) -> Options:
    """The preset, with the given options instead of its own.

    Raises BadOption for an option that does not exist, or a value that is not one of its.
    """
    for name in given:
        if name not in NAMES:
            raise unknown_option(name, NAMES)
    values = {name: checked(name, value) for name, value in given.items()}
    return choose(values.pop("preset", None) or "default", **values)


def checked(name: str, value: object) -> Any:
    """The value of an option as `Options` has it, None where none is given.

    None and an empty text stand for not given. Raises BadOption.
    """
    if value is None or (isinstance(value, str) and value == ""):
        return None
    match name:
        case "target_class":
            return _classes(name, value)
        case "roi":
            return _roi(value)
        case "background":
            if isinstance(value, str) and COLOUR.fullmatch(value):
                return value
            raise _wrong(name, value, "Input should be six hexadecimal digits, RRGGBB")
    kind = _kind(name)
    if get_origin(kind) is Literal:
        return _choice(name, value, get_args(kind))
    return _within(name, value, number(name, value))


def checked_class(name: str, value: object) -> int | str | None:
    """One class, by its index or by its label. Raises BadOption."""
    if value is None or isinstance(value, str):
        if value and len(value) > LONGEST:
            raise _wrong(name, value, f"Input should have at most {LONGEST} characters")
        return value or None
    try:
        return _whole(value)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(name, value, "Input should be a label or an index") from None


def number(name: str, value: object) -> int | float:
    """Of an option that is one; its range is not looked at. Raises BadOption."""
    whole = _kind(name) is int
    try:
        return _whole(value) if whole else _real(value)
    except (TypeError, ValueError, OverflowError):
        what = "integer" if whole else "number"
        raise _wrong(name, value, f"Input should be a valid {what}") from None


def unknown_option(name: str, known: Iterable[str]) -> BadOption:
    """The error for an option that does not exist."""
    name, names = str(name)[:100], sorted(known)
    return BadOption(
        f"there is no option {name!r}; options are {', '.join(names)}", option=name, known=names
    )


def _kind(name: str) -> Any:
    """int, float or a Literal: the type of an option less its None."""
    hint = get_args(HINTS[name])[0]
    if get_origin(hint) is Literal:
        return hint
    return next(iter(get_args(hint)), hint)  # of `int | None` the first


def _choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in choices:
        return str(value)
    quoted = [repr(choice) for choice in choices]
    listed = f"{', '.join(quoted[:-1])} or {quoted[-1]}"
    raise _wrong(name, value, f"Input should be {listed}", expected=listed)


def _within(name: str, value: object, given: int | float) -> int | float:
    for note in HINTS[name].__metadata__:
        for bound, attribute, holds, words in BOUNDS:
            # asked this way round, NaN is out of every range
            if isinstance(note, bound) and not holds(given, limit := getattr(note, attribute)):
                rule = f"Input should be {words} {limit}"
                raise _wrong(name, value, rule, **{attribute: limit})
    return given


def _whole(value: Any) -> int:
    """Of text, of Python's and numpy's integers, and of 3.0, as JSON may have it."""
    if not isinstance(value, str):
        with suppress(TypeError):
            return operator.index(_no_truth(value))
    elif re.fullmatch(r"[+-]?[0-9]{1,100}", value.strip()):
        return int(value)
    real = _real(value)
    if not real.is_integer():
        raise ValueError
    return int(real)


def _real(value: Any) -> float:
    if isinstance(value, bytes) or (isinstance(value, str) and not _plain(value)):
        raise ValueError
    return float(_no_truth(value))


def _plain(text: str) -> bool:
    """Python alone reads 1_000 and digits of other scripts."""
    return text.isascii() and "_" not in text


def _no_truth(value: Any) -> Any:
    """True and False are no numbers here, nor are numpy's and PyTorch's."""
    if isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool"):
        raise ValueError
    return value


def _classes(name: str, value: object) -> int | str | tuple[int | str, ...] | None:
    """One class, or those of a list, an array or whatever else has an order."""
    entries = _entries(value)
    if entries is None:
        return checked_class(name, value)
    if not 1 <= len(entries) <= MOST_TARGETS:
        raise _wrong(name, value, f"Input should have 1 to {MOST_TARGETS} classes")
    classes = tuple(checked_class(name, entry) for entry in entries)
    known = tuple(entry for entry in classes if entry is not None)
    if len(known) < len(classes):
        raise _wrong(name, value, "Input should be labels or indices")
    return known if len(known) > 1 else known[0]


def _entries(value: Any) -> tuple[object, ...] | None:
    """Of a list and its like; None for anything else. No more than tell that they are too many."""
    if isinstance(value, str | bytes | Mapping | Set):
        return None
    try:
        return tuple(islice(value, MOST_TARGETS + 1))
    except TypeError:  # a number, or an array that is one
        return None


def _roi(value: Any) -> Box:
    rule = "Input should be x,y,w,h: four whole numbers from 0 to 999999999"
    if isinstance(value, str):
        parts: Any = value.split(",") if ROI.fullmatch(value) else None
    else:
        parts = _entries(value)
    try:
        x, y, w, h = (_whole(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        raise _wrong("roi", value, rule) from None
    if not all(0 <= part < 10**9 for part in (x, y, w, h)):
        raise _wrong("roi", value, rule)
    return x, y, w, h


def _wrong(name: str, value: object, rule: str, **figures: Any) -> BadOption:
    given = str(value)[:200]
    return BadOption(f"{name} is {given!r}: {rule}", option=name, actual=given, **figures)
