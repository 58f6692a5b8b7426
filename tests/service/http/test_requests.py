import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.service.http.requests import QUIET, caller_of, is_quiet, own_path, preferred, request_id_of

MOUNTS = st.sampled_from(["", "/kp", "/kp/", "/a/b", "/livez"])


@given(MOUNTS, st.sampled_from([*sorted(QUIET), "/detect", "/", "/kp", "/kpx"]))
def test_the_path_below_a_mount_is_the_one_that_a_route_has(mount: str, path: str) -> None:
    scope = {"type": "http", "path": mount.rstrip("/") + path, "root_path": mount}
    assert own_path(scope) == path
    assert is_quiet(scope) == (path in QUIET)


@pytest.mark.parametrize("path", ["/kpx/livez", "/other", "/livez"])
def test_a_path_that_is_not_below_the_mount_stays(path: str) -> None:
    assert own_path({"path": path, "root_path": "/kp"}) == path
    assert own_path({"path": path}) == path


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "a/usual"),
        ("*/*", "a/usual"),
        ("text/html", "a/usual"),
        ("b/stream", "b/stream"),
        ("B/Stream ; q=0.4", "b/stream"),
        ("text/html, b/stream;q=0.1", "b/stream"),
        ("a/usual, b/stream", "b/stream"),
        ("a/usual, b/stream;q=0.9", "a/usual"),
        ("b/stream;q=0.2, c/other;q=0.3, */*;q=0.1", "c/other"),
        ("a/*, b/stream;q=0.5", "a/usual"),
        ("b/stream;q=0", "a/usual"),
        ("b/stream;q=much", "a/usual"),
        ("b/stream;v=2;q=0.7, */*;q=0.6", "b/stream"),
        ("b/streams", "a/usual"),
    ],
)
def test_the_form_with_the_highest_weight_is_chosen(accept: str, chosen: str) -> None:
    assert preferred(accept, "a/usual", "b/stream", "c/other") == chosen


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_a_caller_is_an_address_or_a_network_of_ipv6(address: str, name: str) -> None:
    assert caller_of(Request({"type": "http", "client": (address, 1)})) == name


def test_a_caller_with_a_key_is_the_key_s_whatever_the_address() -> None:
    scope = {"type": "http", "client": ("192.0.2.1", 1), "state": {"key": "ab12"}}
    assert caller_of(Request(scope)) == "ab12"


def test_a_caller_without_an_address_is_one_too() -> None:
    assert caller_of(Request({"type": "http", "client": None})) == ""


def test_a_harmless_id_of_the_caller_is_taken_over() -> None:
    assert request_id_of({"x-request-id": "Order-7.a_b"}) == "Order-7.a_b"


@pytest.mark.parametrize("asked", ["", "a b", "x" * 129, "a\nb", "é"])
def test_any_other_id_is_replaced_by_a_new_one_each_time(asked: str) -> None:
    one, two = (request_id_of({"x-request-id": asked}) for _ in range(2))
    assert one != two
    assert len(one) == len(two) == 32
