import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.environment import origin, unquoted


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://example.com/", "https://example.com"),
        ("https://Example.COM", "https://example.com"),
        ("HTTPS://example.com:443", "https://example.com"),
        ("http://example.com:80/", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
        ("https://exämple.com", "https://xn--exmple-cua.com"),
        ("chrome-extension://abcdefgh/", "chrome-extension://abcdefgh"),
        (" https://example.com ", "https://example.com"),
        ("*", "*"),
        ("null", "null"),
    ],
)
def test_an_origin_is_understood_as_browsers_write_it(written: str, meant: str) -> None:
    assert origin(written) == meant
    assert origin(meant) == meant


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("https://example.com/app", "its origin is https://example.com"),
        ("https://example.com/?a=1", "its origin is https://example.com"),
        ("https://example.com#a", "its origin is https://example.com"),
        ("example.com", "written as https://"),
        ("example.com:8080", "written as https://"),
        ("https://*.example.com", "written as https://"),
        ("https://me:secret@example.com", "written as https://"),
        ("https://", "written as https://"),
        ("https://example.com:99999", "no origin"),
        ("https://exa mple.com", "no host"),
    ],
)
def test_what_is_no_origin_is_refused_with_what_is_wrong(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        origin(written)


@given(st.text(max_size=60))
def test_any_text_is_an_origin_that_stays_or_a_value_error(text: str) -> None:
    try:
        meant = origin(text)
    except ValueError:
        return
    assert origin(meant) == meant


def test_one_pair_of_quotes_is_taken_off_and_no_half_of_one() -> None:
    assert unquoted(' "a" ') == "a"
    assert unquoted("'a\"") == "'a\""
    assert unquoted('"') == '"'
    assert unquoted('["a"]') == '["a"]'
