import pytest

from app.service.http.accept import preferred


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
