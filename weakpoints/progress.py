"""How far a piece of work is: one type of callback, from the engine to the service's events."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the steps done and the total. What it raises stops the work."""


def no_progress(stage: str, done: int, total: int) -> None:
    """The callback for callers that want none."""


def part_of(progress: Progress, before: int, total: int) -> Progress:
    """The callback for one part of a stage: `before` steps are done already, of `total`."""

    def told(stage: str, done: int, _: int) -> None:
        progress(stage, before + done, total)

    return told
