"""Forms as callers send them: without filenames, with many fields, cut short."""

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import httpx2
import pytest
from starlette.requests import Request

from app.service.intake.multipart import FORM_PARTS
from app.service.intake.upload import check_encoding
from app.service.scheduling import pipeline
from tests.service import picture, post, serving
from weakpoints.errors import UnsupportedMedia
from weakpoints.images import decode as image
from weakpoints.method.detector import Detector
from weakpoints.options import Limits

END = b"--XbX--\r\n"
PICTURE = picture(90)
FILE = b'form-data; name="image"; filename="a.jpg"'


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[httpx2.Client]:
    with serving(lambda: detector) as client:
        yield client


def part(disposition: bytes, data: bytes = PICTURE, more: bytes = b"") -> bytes:
    head = b"--XbX\r\nContent-Disposition: " + disposition + b"\r\n" + more
    return head + b"\r\n" + data + b"\r\n"


def posted(client: httpx2.Client, body: bytes) -> tuple[int, dict[str, Any]]:
    kind = {"content-type": "multipart/form-data; boundary=XbX"}
    answer = client.post("/detect", content=body, headers=kind)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="image"',
        b"form-data; name=image",
        b"form-data; name=\"image\"; filename*=UTF-8''%e5%86%99.jpg",
    ],
)
@pytest.mark.parametrize("more", [b"", b"Content-Type: image/png\r\n"])
def test_a_part_without_a_filename_is_told_that_it_lacks_one(
    client: httpx2.Client, disposition: bytes, more: bytes
) -> None:
    status, told = posted(client, part(disposition, more=more) + END)
    assert status == 400
    assert "has no filename" in str(told["detail"])


def test_other_fields_do_no_harm_up_to_a_limit_that_is_told(client: httpx2.Client) -> None:
    fields = [part(b'form-data; name="f%d"' % i, b"1") for i in range(FORM_PARTS + 1)]
    assert posted(client, b"".join(fields[1:]) + part(FILE) + END)[0] == 200
    status, told = posted(client, b"".join(fields) + part(FILE) + END)
    assert (status, told["limit"]) == (400, FORM_PARTS)
    assert f"at most {FORM_PARTS} files" in str(told["detail"])
    text = part(b'form-data; name="meta"', b"x" * 3_000_000)
    assert posted(client, text + part(FILE) + END)[0] == 200


def field(name: str, value: str) -> bytes:
    return part(f'form-data; name="{name}"'.encode(), value.encode())


def test_options_may_be_fields_of_the_form_before_and_behind_the_photograph(
    client: httpx2.Client,
) -> None:
    for body in (
        field("max_keypoints", "1") + part(FILE) + field("target_class", "cat"),
        part(FILE) + field("target_class", "cat") + field("max_keypoints", "1") + field("seed", ""),
    ):
        status, told = posted(client, body + END)
        assert status == 200
        assert len(told["keypoints"]) == 1
        assert told["options"]["target_class"] == 2
    several = part(FILE) + part(FILE) + field("max_keypoints", "1") + END
    results = posted(client, several)[1]["results"]
    assert [len(result["keypoints"]) for result in results] == [1, 1]
    kind = {"content-type": "multipart/form-data; boundary=XbX"}
    body = part(FILE) + field("format", "npz") + END
    arrays = client.post("/heatmap", content=body, headers=kind)
    assert arrays.headers["content-type"] == "application/x-npz"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_keypoints", "many", "valid integer"),
        ("max_keypoints", "0", "greater than or equal to 1"),
        ("target_class", "no such class", "none of the 6 labels"),
        ("patch", "1000", "input side is 56"),
        ("stride", "1", "is in the query and in the form"),
        ("target_class", "x" * 5000, "more than 4096 bytes"),
    ],
)
def test_a_field_that_is_a_wrong_option_is_refused_as_in_the_query(
    client: httpx2.Client, name: str, value: str, said: str
) -> None:
    query = {} if name == "patch" else {"stride": 1}
    kind = {"content-type": "multipart/form-data; boundary=XbX"}
    body = part(FILE) + field(name, value) + END
    with httpx2.Client(base_url=client.base_url, verify=False) as plain:
        answer = plain.post("/detect", params=query, content=body, headers=kind)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert answer.json()["option"] == name


def test_an_option_that_comes_twice_is_refused(client: httpx2.Client) -> None:
    body = part(FILE) + field("seed", "1") + field("seed", "2") + END
    status, told = posted(client, body)
    assert (status, told["option"]) == (422, "seed")


def test_a_photograph_in_a_part_of_another_name_is_not_left_out_in_silence(
    client: httpx2.Client,
) -> None:
    other = part(b'form-data; name="images"; filename="b.jpg"')
    status, told = posted(client, part(FILE) + other + END)
    assert status == 400
    assert "parts that came: 'image', 'images'" in str(told["detail"])
    nothing = part(b'form-data; name="mask"; filename=""', b"")  # as browsers send none
    assert posted(client, part(FILE) + nothing + END)[0] == 200


@pytest.mark.parametrize("end", [50, 200, 9000, -1])
def test_a_body_that_stops_in_the_middle_is_said_to(client: httpx2.Client, end: int) -> None:
    body = part(FILE)[:end]
    status, told = posted(client, body)
    assert status == 400
    assert f"cut short: it ends after {len(body)} bytes" in str(told["detail"])


def test_what_came_instead_is_named(client: httpx2.Client) -> None:
    status, told = posted(client, part(b'form-data; name="picture"; filename="a.jpg"') + END)
    assert (status, told["expected"]) == (400, "image")
    assert "parts that came: 'picture'" in str(told["detail"])
    unnamed = part(FILE) + part(b'form-data; name="image"') + END
    assert "has no filename" in str(posted(client, unnamed)[1]["detail"])
    assert "not well formed" in str(posted(client, b"--XbY\r\n" + END)[1]["detail"])


@pytest.mark.parametrize(
    "roi", ["9" * 5000 + ",0,1,1", "0" * 4400 + "1,0,99,99", "1,2,3,4\n", "1,2,3", "१,0,9,9"]
)
def test_a_number_that_is_none_is_a_wrong_option(client: httpx2.Client, roi: str) -> None:
    answer = client.post(
        "/detect", params={"roi": roi}, content=PICTURE, headers={"content-type": "image/png"}
    )
    assert answer.status_code == 422
    assert answer.json()["option"] == "roi"


@pytest.mark.parametrize("name", ["seed", "patch", "colours", "weight", "target_class"])
def test_no_option_makes_an_error_of_ours_of_many_digits(client: httpx2.Client, name: str) -> None:
    for digits in ("9" * 5000, "-" + "9" * 5000, "1" + "0" * 190):
        answer = client.post(
            "/detect", params={name: digits}, content=PICTURE, headers={"content-type": "image/png"}
        )
        assert answer.status_code == 422, (name, len(digits))


def test_a_length_of_many_digits_is_too_large(client: httpx2.Client) -> None:
    import socket

    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        head = "POST /detect HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: "
        connection.sendall(f"{head}{'9' * 5000}\r\n\r\n".encode())
        assert connection.recv(99).split()[1] in (b"400", b"413")


def test_the_head_of_a_file_is_not_read_on_the_event_loop(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[bool]()

    def is_large(data: bytes, limits: Limits) -> bool:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        read.append(True)
        return image.is_large(data, limits)

    monkeypatch.setattr(pipeline, "is_large", is_large)
    with serving(lambda: detector) as client:
        assert post(client, 40).status_code == 200
    assert read == [True]


@pytest.mark.parametrize(
    ("encoding", "accepted"),
    [
        ("identity", True),
        ("Identity", True),
        (" IDENTITY , identity", True),
        ("", True),
        ("gzip", False),
        ("identity, GZIP", False),
        ("x-identity", False),
    ],
)
def test_the_names_of_codings_have_no_case(encoding: str, accepted: bool) -> None:
    scope = {"type": "http", "headers": [(b"content-encoding", encoding.encode())]}
    with nullcontext() if accepted else pytest.raises(UnsupportedMedia, match="is not accepted"):
        check_encoding(Request(scope))
