import pytest

from app.service.intake.multipart import MultipartForm, Part, Take
from weakpoints.errors import MalformedRequest

TYPE = "multipart/form-data; boundary=XbX"
DATA = b"\r\n--Xb" + bytes(range(256)) + b"--XbX-\r\n"  # nearly a boundary, twice


def head(disposition: str) -> bytes:
    return f"--XbX\r\nContent-Disposition: {disposition}\r\n\r\n".encode()


BODY = (
    head('form-data; name="image"; filename="a \\"b\\".jpg"')
    + DATA
    + b"\r\n"
    + head("form-data; name=note")
    + b"text\r\n"
    + head('form-data; name="image"; filename="写.png"')
    + b"\r\n--XbX--\r\n"
)


def taken(*pieces: bytes) -> list[tuple[Part, bytes]]:
    found: list[tuple[Part, bytearray]] = []

    def begin(part: Part) -> Take:
        found.append((part, bytearray()))
        return found[-1][1].extend

    form = MultipartForm(TYPE, begin)
    for piece in pieces:
        form.feed(piece)
    form.end()
    return [(part, bytes(data)) for part, data in found]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_a_form_has_the_same_parts_however_it_is_cut(size: int) -> None:
    pieces = [BODY[at : at + size] for at in range(0, len(BODY), size)]
    assert taken(*pieces) == [
        (Part("image", 'a "b".jpg'), DATA),
        (Part("note", None), b"text"),
        (Part("image", "写.png"), b""),
    ]


@pytest.mark.parametrize("end", range(1, len(BODY) - 4, 23))
def test_a_form_that_ends_early_is_said_to(end: int) -> None:
    with pytest.raises(MalformedRequest, match="cut short"):
        taken(BODY[:end])


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"--XbX\r\nno header\r\n\r\n",
        b"--XbX\r\nContent-Type: image/png\r\n\r\ndata\r\n--XbX--",
        b"--XbX\r\n" + b"a: b\r\n" * 99 + b"\r\n",
        b"--XbX\r\na: " + b"b" * 9999,
    ],
)
def test_what_is_no_form_is_not_well_formed(body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="not well formed"):
        taken(body)


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=" + "x" * 300])
def test_a_form_needs_a_boundary(boundary: str) -> None:
    with pytest.raises(MalformedRequest, match="not well formed"):
        MultipartForm(f"multipart/form-data{boundary}", lambda part: lambda piece: None)
