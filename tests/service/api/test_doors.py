"""One rule for an option's value over HTTP: in a query, in a form and in JSON, as in Python.

`tests/test_given_options.py` has the same for Python, the command line and the client. Nothing is
detected here: an option that does not go with the network is refused only when all values are good.
"""

import base64
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.service.app import create_app
from app.settings import Settings
from tests.service import picture, until
from tests.test_given_options import NUMBERS, WHOLE, bounds, said
from weakpoints.given_options import options_from
from weakpoints.method.detector import Detector
from weakpoints.options import NAMES, Options

PHOTOGRAPH = picture(64)
INSTANCES = [{"b64": base64.b64encode(PHOTOGRAPH).decode()}]


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[TestClient]:
    app = create_app(Settings(decoders=1), lambda: detector)
    with TestClient(app) as client:
        until(lambda: app.state.service.ready)
        yield client


def everywhere(client: TestClient, name: str, text: str) -> str | None:
    """What HTTP says against a value, None where it takes it; the same in all three places."""
    other = "patch" if name == "target_class" else "target_class"
    last = {other: "1024" if other == "patch" else "no such class"}
    answers = [
        client.post(
            "/detect",
            params=last | {name: text},
            content=PHOTOGRAPH,
            headers={"content-type": "image/png"},
        ),
        client.post("/detect", files={"image": ("a.png", PHOTOGRAPH)}, data=last | {name: text}),
        client.post(
            "/v1/models/toy:explain",
            json={"instances": INSTANCES, "parameters": last | {name: text}},
        ),
    ]
    problems = [answer.json() for answer in answers]
    assert [answer.status_code for answer in answers] == [422] * 3, problems
    said_of = {(problem["option"], problem["detail"]) for problem in problems}
    assert len(said_of) == 1, said_of
    (option, detail), *_ = said_of
    return None if option == other else str(detail)


def agree(client: TestClient, name: str, text: str) -> bool:
    """Whether Python takes it, too, or refuses it in the same words."""
    python = said(lambda: options_from({name: text}))
    over_http = everywhere(client, name, text)
    if name == "target_class" and isinstance(python, Options) and over_http is not None:
        return "target_class" in over_http  # it depends on the network's labels
    return over_http is None if isinstance(python, Options) else over_http == python


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_at_its_bounds_is_the_same_in_a_query_a_form_and_json(
    client: TestClient, name: str
) -> None:
    low, high, _ = bounds(name)
    step = 1 if name in WHOLE else 0.5
    for value in (low - step, low, low + step, high - step, high, high + step):
        assert agree(client, name, str(int(value) if name in WHOLE else value)), value


TEXTS = st.sampled_from(["1", "0.5", "squash", "paper", "00ff7F", "1,2,3,4", "nan", "1e3", "6,0"])


@settings(max_examples=40)
@given(st.sampled_from(NAMES), TEXTS | st.text(st.characters(codec="utf-8"), max_size=40))
@example("roi", "0,0,0,0")
@example("roi", "1,2,3,4\n")
@example("background", "00ff7f\n")
@example("target_class", "caf\u00e9, a+b&c=d")
@example("patch", "")
def test_any_text_is_taken_or_refused_in_the_same_words_in_all_of_them(
    client: TestClient, name: str, text: str
) -> None:
    assert agree(client, name, text)
