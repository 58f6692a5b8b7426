"""Which form of the answer a caller prefers."""

from contextlib import suppress


def preferred(accept: str, usual: str, *others: str) -> str:
    """The media type that an Accept header gives the highest weight (RFC 9110, 12.5.1).

    One of `others` has to be named; among equals it comes before the usual one. Whoever accepts
    none of them gets the usual one.
    """
    weights: dict[str, float] = {}
    for named in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in named.split(";"))
        weights[media_type] = next((_number(p[2:]) for p in parameters if p[:2] == "q="), 1.0)
    wildcards = (usual, f"{usual.partition('/')[0]}/*", "*/*")
    least = next((weights[pattern] for pattern in wildcards if pattern in weights), 0.0)
    best = max(others, key=lambda other: weights.get(other, 0.0), default=usual)
    return best if weights.get(best, 0.0) > 0 and weights[best] >= least else usual


def _number(text: str) -> float:
    """0 where it is none."""
    with suppress(ValueError):
        return float(text)
    return 0.0
