import pytest
from starlette.requests import Request

from app.service.http.callers import caller_of


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
