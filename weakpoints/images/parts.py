"""What the readers of JPEG, PNG and WebP share.

How they give a file on, and how they refuse one.
"""

from dataclasses import dataclass

from weakpoints.errors import BadImage

Size = tuple[int, int]
MOST_PARTS = 65_536  # segments or chunks of a file: walking so many takes less than 0.1 s


@dataclass(frozen=True)
class Body:
    """What the decoder gets of a file: the parts that were looked at, and no byte more.

    ended: whether the file has its end mark, or was given one here.
    others: the same with other bytes behind the last, where the end mark is missing. A picture
    whose pixels are all there decodes alike from each of them.
    """

    data: bytes
    ended: bool = True
    others: tuple[bytes, ...] = ()


def broken(kind: str, data: bytes, why: str = "no size can be read from it") -> BadImage:
    return BadImage(
        f"the {kind} file of {len(data)} bytes is broken or cut short: {why}", actual=len(data)
    )


def cut_short(kind: str, data: bytes) -> BadImage:
    return broken(kind, data, "it ends before the picture does")


def too_many_parts(kind: str, what: str) -> BadImage:
    return BadImage(
        f"the {kind} has {MOST_PARTS} {what} or more; fewer are read",
        limit=MOST_PARTS,
        actual=MOST_PARTS,
    )
