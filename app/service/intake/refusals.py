"""Why a body is refused, in words that say what to send instead."""

from weakpoints.errors import MalformedRequest, TooLarge, WeakpointsError

FIELD = "image"  # the part of a form that is a photograph


def no_filename() -> MalformedRequest:
    return MalformedRequest(
        f"the part named {FIELD!r} has no filename, so that it is text; send it as a file, "
        f'with Content-Disposition: form-data; name="{FIELD}"; filename="photograph.jpg"',
        expected=FIELD,
    )


def too_many(most: int, name: str) -> WeakpointsError:
    """Where one is expected, it is the wrong request; else it is more than the limit."""
    came = f"{most + 1} or more files in parts named {name!r} came"
    if most == 1:
        what = "photograph" if name == FIELD else "file"
        return MalformedRequest(f"{came}; one {what} is expected here", limit=1, actual=2)
    return TooLarge(f"{came}; at most {most} are accepted", limit=most, actual=most + 1)


def too_large(actual: int, most: int, max_bytes: int) -> TooLarge:
    accepted = f"an image may have at most {max_bytes}"
    if most > 1:
        accepted = f"at most {most} images of {max_bytes} are accepted"
    return TooLarge(
        f"the body has {actual} bytes or more; {accepted}", limit=most * max_bytes, actual=actual
    )
