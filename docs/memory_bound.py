"""How much memory the service takes at most, whatever is sent: bytes beyond what it has at rest."""

from app.decoding.pool import memory_of_child
from app.settings import Settings

HELD = 8  # bytes for a pixel at work: RGB, what can be seen, and its drawing until that is read
WORKED = 32  # for a pixel that is decoded or drawn now: copies, and a map as numbers
OCCLUSIONS = 2  # at the same time: of a dear request, and of one that passes it
SPARE = 9 / 8  # of a body that grows


def pictures(settings: Settings) -> int:
    """From decoding until the last byte of the answer is written. One picture always fits."""
    return HELD * max(settings.queue_pixels, settings.max_pixels)


def at_once(settings: Settings) -> int:
    """What is decoded and drawn now, in the service itself."""
    return WORKED * settings.max_pixels * settings.decoders


def bodies(settings: Settings) -> int:
    """Files that are received, or wait to be decoded; and the copy of one."""
    return int(SPARE * settings.max_bytes * settings.uploads) + settings.max_bytes


def children(settings: Settings) -> int:
    """The processes that decode: the system gives them no more."""
    return memory_of_child(settings.limits) * settings.decoders


def most_memory(settings: Settings) -> int:
    """All of it, but for the occlusions' own, `WEAKPOINTS_MEMORY` each."""
    parts = (pictures, at_once, bodies, children)
    return settings.cache_bytes + sum(part(settings) for part in parts)
