"""Which room may import which: held by `test_house.py`, and drawn as a table by the docs."""

BASE = {"class_names", "errors", "options", "progress"}
LIBRARY = {  # a room of `weakpoints`, and the rooms that it may look into
    "errors": set(),
    "progress": set(),
    "class_names": {"errors"},
    "options": BASE,
    "given_options": BASE,
    "coco": BASE,
    "networks": BASE | {"networks"},
    "threads": BASE,
    "processes": BASE,
    "engine": BASE | {"networks", "engine", "threads"},
    "images": BASE | {"images"},
    "method": BASE | {"networks", "engine", "images", "method"},
    "loading": BASE | {"networks", "engine", "images", "method"},
    "doctor": BASE | {"networks", "engine", "method", "threads"},
    "landmarks": BASE | {"coco", "networks", "images", "method", "landmarks"},
    "evaluation": BASE
    | {"coco", "networks", "engine", "images", "method", "landmarks", "evaluation"},
    "api": BASE
    | {"given_options", "networks", "images", "method", "landmarks", "loading"}
    | {"processes"},
    "platforms": BASE,
    "__main__": {"errors", "platforms"},
}
SERVICE = {"allocator", "decoding", "loading", "schemas", "settings", "service"}
HOUSE = {  # a room of `app`, and the rooms of `app` that it may look into; all see the library
    "allocator": set(),
    "environment": set(),
    "settings": {"environment"},
    "loading": {"settings"},
    "schemas": {"schemas"},
    "decoding": {"allocator", "decoding"},
    "service": SERVICE,
    "main": SERVICE,
    "batch": {"decoding", "schemas", "batch"},
    "cluster": SERVICE | {"batch", "cluster"},
    "cli": SERVICE | {"batch", "cluster", "cli"},
}
ROOMS = {"weakpoints": LIBRARY, "app": HOUSE}


def floors(rooms: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by floor, the top one first: a room looks into rooms of lower floors, and its own."""
    below: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in below:
            others = rooms[room] - {room}
            below[room] = 1 + max((floor(other) for other in others), default=-1)
        return below[room]

    top = max(floor(room) for room in rooms)
    return [sorted(r for r in rooms if below[r] == level) for level in range(top, -1, -1)]
