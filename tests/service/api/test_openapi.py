"""What the schema tells is what comes: each answer is held to it.

schemathesis asks more (CONTRIBUTING.md), by hand.
"""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator

from tests.service import STREAM, picture, serving
from tests.service.api.test_kserve import instances
from weakpoints.method.detector import Detector

LINES = {"accept": "application/x-ndjson"}


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[httpx2.Client]:
    with serving(lambda: detector, max_bytes=200_000, max_images=2) as client:
        yield client


def form(*photographs: bytes, **more: Any) -> dict[str, Any]:
    return {"files": [("image", ("p.png", each)) for each in photographs]} | more


def v1(**body: Any) -> dict[str, Any]:
    return {"json": body | {"instances": instances(picture(90))}}


def hold(schema: dict[str, Any], path: str, answer: httpx2.Response, method: str = "post") -> None:
    """The answer's status, media type, headers and JSON are what the schema tells of `path`."""
    told = schema["paths"][path][method]["responses"][str(answer.status_code)]
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in told["content"]
    for name, header in told.get("headers", {}).items():
        assert name in answer.headers or not header.get("required")
    for item in items(media_type, answer.text):
        known = told["content"][media_type]
        document = known.get("itemSchema", known.get("schema"))
        Draft202012Validator({"components": schema["components"], **document}).validate(item)


def items(media_type: str, text: str) -> list[Any]:
    """What JSON there is: one document, a line each, or the fields of each event."""
    if media_type == "application/x-ndjson":
        return [json.loads(line) for line in text.splitlines()]
    if media_type == "text/event-stream":
        events = text.strip().split("\n\n")
        return [dict(line.split(": ", 1) for line in each.splitlines()) for each in events]
    return [json.loads(text)] if media_type.endswith("json") else []


GOOD, BAD = picture(90), b"GIF89a"
ANSWERS = [
    ("/detect", form(GOOD), 200),
    ("/detect", form(GOOD, BAD), 200),
    ("/detect", form(GOOD, BAD, headers=LINES), 200),
    ("/detect", form(GOOD, headers=STREAM), 200),
    ("/detect", {"content": GOOD, "headers": {"content-type": "image/png"}}, 200),
    ("/detect", form(), 400),
    ("/detect", form(GOOD, headers={"x-request-timeout": "soon"}), 400),
    ("/detect", form(GOOD, headers={"origin": "http://elsewhere.example"}), 403),
    ("/detect", form(GOOD, GOOD, GOOD), 413),
    ("/detect", form(b"text"), 415),
    ("/detect", form(GOOD, params={"patch": 0}), 422),
    ("/detect", form(picture(91), headers={"x-request-timeout": "1e-9"}), 504),  # not kept yet
    ("/heatmap", form(GOOD), 200),
    ("/heatmap", form(GOOD, params={"format": "npz"}), 200),
    ("/heatmap", form(GOOD, GOOD), 400),
    ("/heatmap", form(GOOD, params={"drawn_class": "none"}), 422),
    ("/v1/models/{name}:predict", v1(), 200),
    (
        "/v1/models/{name}:explain",
        v1(parameters={"target_class": [0, "cat"], "roi": [0, 0, 50, 50], "heatmap": True}),
        200,
    ),
    ("/v1/models/{name}:explain", {"content": b"{}"}, 400),
    ("/v1/models/{name}:explain", v1(parameters={"patch": 0}), 422),
]


@pytest.mark.parametrize(("path", "sent", "status"), ANSWERS)
def test_what_comes_is_what_the_schema_tells(
    client: httpx2.Client, path: str, sent: dict[str, Any], status: int
) -> None:
    answer = client.post(path.replace("{name}", "toy"), **sent)
    assert answer.status_code == status, answer.text[:200]
    hold(client.get("/openapi.json").json(), path, answer)


def test_parameters_are_what_the_schema_tells(client: httpx2.Client) -> None:
    """Lists and numbers are what `test_what_comes_is_what_the_schema_tells` sends."""
    post = client.get("/openapi.json").json()["paths"]["/v1/models/{name}:explain"]["post"]
    body = post["requestBody"]["content"]["application/json"]["schema"]
    for parameters, wrong in (
        ({"target_class": [0, "cat"], "roi": [0, 0, 50, 50]}, False),
        ({"target_class": 0, "roi": "0,0,50,50"}, False),
        ({"target_class": []}, True),
        ({"roi": [0, 0, 50]}, True),
        ({"patsch": 1}, True),
    ):
        sent = v1(parameters=parameters)["json"]
        assert bool(list(Draft202012Validator(body).iter_errors(sent))) is wrong, parameters


def test_probes_and_what_is_asked_by_get_are_what_the_schema_tells(
    client: httpx2.Client, detector: Detector
) -> None:
    schema = client.get("/openapi.json").json()
    gets = [path for path, operations in schema["paths"].items() if "get" in operations]
    for path in gets:
        answer = client.get(path.replace("{name}", "toy"))
        assert answer.status_code == 200
        hold(schema, path, answer, "get")
    answer = client.get("/v1/models/other")
    assert answer.status_code == 404
    hold(schema, "/v1/models/{name}", answer, "get")
    for verb in ("predict", "explain"):
        for method in ("GET", "OPTIONS"):
            answer = client.request(method, f"/v1/models/toy:{verb}")
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    goes = threading.Event()

    def load() -> Detector:
        goes.wait(60)
        return detector

    with serving(load, wait=False) as loading:
        for path in gets:
            if path not in ("/metrics", "/livez", "/v2/health/live"):
                answer = loading.get(path.replace("{name}", "toy"))
                assert answer.status_code == 503
                hold(schema, path, answer, "get")
        hold(schema, "/detect", loading.post("/detect", **form(GOOD)))
        goes.set()


def test_what_can_be_sent_is_told(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/detect", "/heatmap", "/v1/models/{name}:explain"):
        told = {each["name"]: each for each in paths[path]["post"]["parameters"]}
        assert told["X-Request-Timeout"]["in"] == "header"
    detect, heatmap = paths["/detect"]["post"], paths["/heatmap"]["post"]
    refused = {"400", "401", "403", "408", "413", "415", "422", "429", "500", "503", "504"}
    assert set(detect["responses"]) == set(heatmap["responses"]) == refused | {"200"}
    for status in ("429", "503"):
        assert detect["responses"][status]["headers"]["Retry-After"]["required"]
    answered = detect["responses"]["200"]["headers"], heatmap["responses"]["200"]["headers"]
    answer = client.post("/heatmap", **form(GOOD, params={"style": "gray16"}))
    assert (
        set(answered[0])
        <= set(answered[1])
        == {name for name in answered[1] if name in answer.headers}
    )
