"""The photographs out of a request: the raw body is one, a form has one in each part `image`.

Never more bytes than allowed, of each and of all.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from starlette.requests import Request

from app.service.intake.multipart import MultipartForm, Part, Take
from app.service.intake.refusals import FIELD, no_filename, too_large, too_many
from app.settings import Settings
from weakpoints.errors import (
    BadOption,
    MalformedRequest,
    QueueFull,
    UnsupportedMedia,
    UploadTooSlow,
    WeakpointsError,
)

LONGEST_OPTION = 4096  # bytes of an option that comes as a field of a form
# A browser or a store that does not know a file's type says so; its first bytes tell.
RAW_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
ENVELOPE = 16 * 2**10  # bytes that multipart's boundaries, headers and other parts may add


@dataclass(frozen=True)
class UploadPace:
    """How fast a body must come.

    `rate` bytes a second once `grace` seconds are over, and all of it in `total` seconds for each
    photograph.
    """

    grace: float
    rate: float
    total: float

    @classmethod
    def of(cls, settings: Settings) -> "UploadPace":
        return cls(settings.upload_grace, settings.upload_rate, settings.upload_timeout)

    def seconds(self, received: int, photographs: int = 1) -> float:
        """From the first to the next byte at most."""
        return min(self.total * max(1, photographs), self.grace + received / self.rate)


@dataclass(eq=False)
class Upload:
    """One photograph as it comes, at most `max_bytes`.

    `with upload as data` gives its bytes, or raises why it is refused. Behind it they are
    forgotten, and its place among the uploads is free. filename: as the caller names it; the raw
    body has none.
    """

    filename: str | None
    max_bytes: int
    place: ExitStack
    refusal: WeakpointsError | None = None
    _data: bytearray = field(default_factory=bytearray, repr=False)

    def add(self, piece: bytes) -> None:
        if self.refusal is None:
            self._data += piece
            if len(self._data) > self.max_bytes:
                self.refusal = too_large(len(self._data), 1, self.max_bytes)
                self._forget()

    def __enter__(self) -> bytes:
        if self.refusal is not None:
            raise self.refusal
        data, self._data = bytes(self._data), bytearray()
        return data

    def __exit__(self, *raised: object) -> None:
        self._forget()

    def _forget(self) -> None:
        self._data = bytearray()
        self.place.close()


@dataclass(frozen=True)
class ReceivedForm:
    """The photographs of a request, and options that came as fields of the form beside them.

    companions: files of other names that were asked for, such as references.
    """

    uploads: list[Upload]
    options: dict[str, str] = field(default_factory=dict)
    companions: dict[str, list[Upload]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What a request may have: photographs, `least` at least and `most` at most.

    options: names of a form's fields that are kept. Others are dropped: a form may have fields that
    are for somebody else. companions: names of a form's parts that are files, too, and how many of
    each may come.
    """

    most: int
    least: int = 1
    options: Collection[str] = ()
    companions: Mapping[str, int] = field(default_factory=dict)


async def read_uploads(
    request: Request, place: Callable[[], ExitStack], settings: Settings, wanted: Wanted
) -> ReceivedForm:
    """The photographs of a request, and what came with them.

    place: takes a place among the uploads, or raises QueueFull. It is asked before a byte is read,
    and again when another photograph begins. Where there is none, or a photograph has too many
    bytes, that one of several is refused, and its bytes are dropped. Raises WeakpointsError for
    what is wrong with the whole request.
    """
    check_encoding(request)
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        return await _of_form(request, content_type, settings, place, wanted)
    if not content_type or content_type.lower().startswith(RAW_TYPES):
        upload = Upload(None, settings.max_bytes, place())
        await receive_body(request, settings.max_bytes, UploadPace.of(settings), upload.add)
        return ReceivedForm([upload])
    raise UnsupportedMedia(
        f"Content-Type is {content_type!r}; "
        f"send multipart/form-data with a part named {FIELD!r}, or image/*"
    )


def check_encoding(request: Request) -> None:
    """Raises UnsupportedMedia for a body that is packed."""
    encoding = request.headers.get("content-encoding", "")
    codings = {coding.strip().lower() for coding in encoding.split(",")}
    if codings - {"", "identity"}:  # their names have no case (RFC 9110, 8.4.1)
        raise UnsupportedMedia(f"Content-Encoding {encoding!r} is not accepted; send it as it is")


async def _of_form(
    request: Request,
    content_type: str,
    settings: Settings,
    place: Callable[[], ExitStack],
    wanted: Wanted,
) -> ReceivedForm:
    limits = {FIELD: wanted.most, **wanted.companions}
    files: dict[str, list[Upload]] = {name: [] for name in limits}
    fields: dict[str, bytearray] = {}
    first, misnamed = place(), False

    def begin(part: Part) -> Take:
        nonlocal misnamed
        if part.name not in limits:
            misnamed = misnamed or bool(part.filename)  # "": a file that nobody chose
            known = part.name in wanted.options
            return _option(part.name, fields) if known else lambda piece: None
        if part.filename is None and part.name == FIELD:
            raise no_filename()
        if len(files[part.name]) == limits[part.name]:
            raise too_many(limits[part.name], part.name)
        # The first photograph has the place that was taken before a byte was read.
        mine, refusal = first, None
        if any(files.values()):
            try:
                mine = place()
            except QueueFull as full:
                mine, refusal = ExitStack(), full
        upload = Upload(part.filename, settings.max_bytes, mine, refusal)
        files[part.name].append(upload)
        return upload.add

    form = MultipartForm(content_type, begin)
    received = await receive_body(
        request,
        settings.max_bytes,
        UploadPace.of(settings),
        form.feed,
        most=sum(limits.values()),
        envelope=ENVELOPE,
        photographs=lambda: sum(map(len, files.values())),
    )
    if not received:
        raise MalformedRequest(f"the request is empty; send a part named {FIELD!r}", actual=0)
    form.end()
    uploads = files.pop(FIELD)
    # An answer without one of the photographs would seem complete.
    if len(uploads) < wanted.least or misnamed:
        raise MalformedRequest(
            f"a file in a part named {FIELD!r} is expected; parts that came: {form.names}",
            expected=FIELD,
        )
    options = {name: bytes(text).decode("utf-8", "replace") for name, text in fields.items()}
    return ReceivedForm(uploads, options, files)


def _option(name: str, fields: dict[str, bytearray]) -> Take:
    """Takes the bytes of an option. Raises BadOption where it came before, or is too long."""
    if name in fields:
        raise BadOption(
            f"{name} came twice in the form; once is expected", option=name, limit=1, actual=2
        )
    text = fields[name] = bytearray()

    def take(piece: bytes) -> None:
        text.extend(piece)
        if len(text) > LONGEST_OPTION:
            raise BadOption(
                f"{name} has more than {LONGEST_OPTION} bytes", option=name, limit=LONGEST_OPTION
            )

    return take


async def receive_body(
    request: Request,
    max_bytes: int,
    pace: UploadPace,
    take: Take,
    *,
    most: int = 1,
    envelope: int = 0,
    photographs: Callable[[], int] = lambda: 1,
) -> int:
    """Gives `take` each piece of the body, and returns how many bytes it had.

    Raises TooLarge as soon as they are more than `most` times `max_bytes` and the envelope,
    UploadTooSlow where they are late. photographs: how many have begun to come.
    """
    limit = most * max_bytes + envelope
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > limit:  # Python makes none of 5,000 digits
        raise too_large(int(declared[:20]), most, max_bytes)
    received, start = 0, asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(start + pace.seconds(0)) as timer:
            async for piece in request.stream():
                received += len(piece)
                if received > limit:
                    raise too_large(received, most, max_bytes)
                take(piece)
                timer.reschedule(start + pace.seconds(received, photographs()))
    except TimeoutError:
        seconds = asyncio.get_running_loop().time() - start
        total = pace.total * max(1, photographs())
        raise UploadTooSlow(
            f"{received} bytes came in {seconds:.1f} s; after {pace.grace:g} s at least "
            f"{pace.rate:g} a second are expected, and all within {total:g} s",
            limit=total,
        ) from None
    return received
