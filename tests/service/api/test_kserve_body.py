import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.service.api.kserve_body import BOM, VALUES, most_bytes, parse
from weakpoints.errors import MalformedRequest, TooLarge, WeakpointsError


def body(*photographs: bytes, **more: Any) -> bytes:
    instances = [{"b64": b64encode(data).decode()} for data in photographs]
    return json.dumps({"instances": instances} | more).encode()


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4))
def test_photographs_come_out_as_they_went_in(photographs: list[bytes]) -> None:
    parsed = parse(body(*photographs, parameters={"patch": 7}), 50, 4)
    assert parsed.photographs == tuple(photographs)
    assert parsed.parameters == {"patch": 7}


@given(st.binary(min_size=1, max_size=300))
def test_base64_is_read_as_people_and_their_tools_write_it(data: bytes) -> None:
    plain = b64encode(data).decode()
    for text in (
        encodebytes(data).decode(),
        encodebytes(data).decode().replace("\n", "\r\n"),
        urlsafe_b64encode(data).decode(),
        plain.rstrip("="),
        f"data:image/jpeg;base64,{plain}",
        f" {plain} ",
    ):
        sent = json.dumps({"instances": [{"b64": text}]}).encode()
        for body in (sent, BOM + sent):
            assert parse(body, 300, 1).photographs == (data,)
        with pytest.raises(TooLarge):
            parse(sent, len(data) - 1, 1)


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "A*AA", "data:image/jpeg,AAAA", "AA=A", "\u0660AAA"]
)
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(MalformedRequest, match="not base64"):
        parse(json.dumps({"instances": [{"b64": text}]}).encode(), 300, 1)


@pytest.mark.parametrize(
    ("sent", "kind", "said"),
    [
        (b"", MalformedRequest, "instances"),
        (b"[]", MalformedRequest, "instances"),
        (b'{"instances": []}', MalformedRequest, "instances"),
        (b'{"instances": [{"b64": "AA==", "more": 1}]}', MalformedRequest, "instances.0.more"),
        (b'{"instances": [{"b64": "?"}]}', MalformedRequest, "not base64"),
        (b'{"instances": [{"b64": "AA=="}]' + b"," * VALUES, MalformedRequest, "commas"),
        (body(b"1", b"2", b"3"), TooLarge, "at most 2"),
        (body(b"1" * 11), TooLarge, "11 bytes"),
    ],
)
def test_a_body_that_is_wrong_is_refused_and_the_instance_is_named(
    sent: bytes, kind: type[WeakpointsError], said: str
) -> None:
    with pytest.raises(kind, match=said) as raised:
        parse(sent, 10, 2)
    if said in ("not base64", "11 bytes"):
        assert raised.value.figures["index"] == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_a_body_or_an_error_of_ours(data: bytes) -> None:
    with suppress(WeakpointsError):
        assert parse(data, 10, 2).photographs


@given(st.integers(0, 10**6))
def test_a_photograph_of_the_allowed_size_fits_into_the_body(size: int) -> None:
    assert most_bytes(size) >= len(encodebytes(bytes(size)).replace(b"\n", b"\r\n")) + len(
        body(b"")
    )
