"""A form (multipart/form-data, RFC 7578), taken apart as it comes; nothing of it is kept here."""

from collections.abc import Callable
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from weakpoints.errors import MalformedRequest

FORM_PARTS = 64  # files, and as many other fields, that a form may have


@dataclass(frozen=True)
class Part:
    """What the head of a part says; `filename` is None for a field that is no file."""

    name: str
    filename: str | None


Take = Callable[[bytes], None]
"""Called with each piece of a part's bytes, in order."""


class MultipartForm:
    """Give it all bytes of a body by `feed`, then call `end`. Both raise MalformedRequest."""

    def __init__(self, content_type: str, begin: Callable[[Part], Take]) -> None:
        """begin: called with each part when its head has come; returns what takes its bytes."""
        _, parameters = parse_options_header(content_type)
        self._boundary = parameters.get(b"boundary", b"")
        self._begin = begin
        self._take: Take = _drop
        self._received, self._ended = 0, False
        self._names: list[str] = []
        self._files = 0
        self._name, self._value, self._disposition = b"", b"", b""
        try:
            self._parser = MultipartParser(
                self._boundary,
                {
                    "on_part_begin": self._part,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header,
                    "on_headers_finished": self._head,
                    "on_part_data": lambda data, start, end: self._take(data[start:end]),
                    "on_end": self._last_boundary,
                },
            )
        except FormParserError as error:  # a boundary that is too long
            raise _not_well_formed() from error
        if not self._boundary:
            raise _not_well_formed()

    @property
    def names(self) -> str:
        """The names of the parts that came, for people."""
        return ", ".join(repr(name[:40]) for name in self._names) or "none"

    def feed(self, piece: bytes) -> None:
        self._received += len(piece)
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _not_well_formed() from error

    def end(self) -> None:
        """Raises where the last boundary is missing (RFC 2046, 5.1.1)."""
        if not self._ended:
            raise MalformedRequest(
                f"the multipart body is cut short: it ends after {self._received} bytes without "
                f"its last boundary, {self._boundary[:70].decode('latin-1')!r}",
                actual=self._received,
            )

    # The parser calls these, in this order.

    def _part(self) -> None:
        self._disposition, self._take = b"", _drop

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def _head(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        if b"name" not in parameters:
            raise _not_well_formed()
        name, filename = (
            parameters[key].decode("utf-8", "replace") if key in parameters else None
            for key in (b"name", b"filename")
        )
        self._names.append(name or "")
        self._files += filename is not None
        if max(self._files, len(self._names) - self._files) > FORM_PARTS:
            raise MalformedRequest(
                "the multipart body has too many parts; "
                f"at most {FORM_PARTS} files and {FORM_PARTS} fields are read",
                limit=FORM_PARTS,
            )
        self._take = self._begin(Part(name or "", filename))

    def _last_boundary(self) -> None:
        self._ended = True


def _drop(piece: bytes) -> None:
    pass


def _not_well_formed() -> MalformedRequest:
    return MalformedRequest("the multipart body is not well formed")
