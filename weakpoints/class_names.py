"""Classes as people name them: by label or index, one or several."""

from collections.abc import Sequence
from unicodedata import normalize

from weakpoints.errors import BadOption

MOST_TARGETS = 10  # classes of one request: each needs a backward pass
DIGITS = 9  # of an index


def chosen_classes(
    wanted: int | str | tuple[int | str, ...] | None, labels: Sequence[str]
) -> int | tuple[int, ...] | None:
    """One index, or several for labels or indices with commas between them, once each."""
    if wanted is None:
        return None
    if isinstance(wanted, str) and "," in wanted and wanted not in labels:
        wanted = _split(wanted, labels)
    if not isinstance(wanted, tuple):
        return class_index(wanted, labels)
    if len(wanted) > MOST_TARGETS:
        raise BadOption(
            f"target_class names {len(wanted)} classes; "
            f"at most {MOST_TARGETS} are explained at once",
            option="target_class",
            limit=MOST_TARGETS,
            actual=len(wanted),
        )
    return tuple(dict.fromkeys(class_index(part, labels) for part in wanted))


def _split(text: str, labels: Sequence[str]) -> tuple[str, ...]:
    """A list at its commas, but not at those inside a label: the longest label goes first."""
    pieces, known, parts = text.split(","), frozenset(labels), list[str]()
    longest = 1 + max(label.count(",") for label in labels)
    while pieces:
        ends = range(min(longest, len(pieces)), 1, -1)
        end = next((end for end in ends if ",".join(pieces[:end]).strip() in known), 1)
        parts.append(",".join(pieces[:end]).strip())
        del pieces[:end]
    return tuple(parts)


def classes_called(name: str, labels: Sequence[str]) -> tuple[int, ...]:
    """The indices that a text may mean: none, one, or several classes of one label.

    A label goes before an index, so that the class "7" of a network whose labels are numbers is the
    one that is called so; `007` is index 7 there, unless a label is that. Letters that look the
    same are the same, however Unicode spells them.
    """
    called = tuple(i for i, label in enumerate(labels) if label == name)
    if not called and not name.isascii():  # file systems spell é in two ways, and so do people
        name = normalize("NFC", name)
        called = tuple(i for i, label in enumerate(labels) if normalize("NFC", label) == name)
    if not called and name.isascii() and name.isdecimal() and len(name) <= DIGITS:
        called = (int(name),) if int(name) < len(labels) else ()
    return called


def class_index(wanted: int | str, labels: Sequence[str], option: str = "target_class") -> int:
    """The class of an index or a label. Raises BadOption where there is none, or more than one."""
    if isinstance(wanted, str):
        called = classes_called(wanted, labels)
        if len(called) > 1:
            raise BadOption(
                f"{option} is {wanted!r}, as the classes {' and '.join(map(str, called))} are "
                "called; name one by its index",
                option=option,
                actual=wanted,
                known=list(called),
            )
        if called:
            return called[0]
        if not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= DIGITS):
            raise BadOption(
                f"{option} is {wanted!r}, which is none of the {len(labels)} labels",
                option=option,
                actual=wanted,
            )
        wanted = int(wanted)  # of no class: its range is told below
    if not 0 <= wanted < len(labels):
        raise BadOption(
            f"{option} is {wanted}; classes go from 0 to {len(labels) - 1}",
            option=option,
            actual=wanted,
        )
    return wanted
