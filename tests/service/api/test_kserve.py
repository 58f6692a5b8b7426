"""KServe's V1 protocol, as its page on the data plane has it:
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
import yaml

from app.service.api.kserve_body import VALUES, most_bytes, parse
from app.settings import Settings
from tests.service import encoded, faulty, serving, until
from weakpoints.errors import MalformedRequest
from weakpoints.method.detector import Detector

BOXES = {"patch": 14, "stride": 14}
MOST = 200_000


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[httpx2.Client]:
    with serving(lambda: detector, max_bytes=MOST, max_pixels=40_000) as client:
        yield client


@pytest.fixture(scope="module")
def photo(photograph: np.ndarray) -> bytes:
    return encoded(photograph, "JPEG")


@pytest.fixture(scope="module")
def other(photograph: np.ndarray) -> bytes:
    return encoded(np.ascontiguousarray(photograph[::-1, :100]))


def instances(*photographs: bytes) -> list[dict[str, str]]:
    return [{"b64": b64encode(each).decode()} for each in photographs]


def ask(
    client: httpx2.Client, verb: str, *photographs: bytes, name: str = "toy", **parameters: object
) -> httpx2.Response:
    """Without a content type, as KServe's client sends it."""
    body = {"instances": instances(*photographs), "parameters": BOXES | parameters}
    return client.post(f"/v1/models/{name}:{verb}", content=json.dumps(body).encode())


def refused(answer: httpx2.Response, status: int, slug: str) -> dict[str, object]:
    """KServe's client shows `error`, and only where the type is exactly this one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    problem: dict[str, object] = answer.json()
    assert problem["type"] == f"urn:weakpoints:problem:{slug}"
    assert problem["error"] == problem["detail"]
    return problem


def test_the_model_is_listed_and_ready_by_its_name_and_no_other_is_there(
    client: httpx2.Client,
) -> None:
    assert client.get("/v1/models").json() == {"models": ["toy"]}
    assert client.get("/v1/models/toy").json() == {"name": "toy", "ready": True}
    told = refused(client.get("/v1/models/vgg16"), 404, "unknown-model")
    assert told["error"] == "there is no model 'vgg16'; there is 'toy'"
    refused(ask(client, "predict", b"x", name="vgg16"), 404, "unknown-model")
    assert client.post("/v1/models/toy:regress", content=b"{}").status_code == 405


def test_probes_have_the_members_that_clients_of_the_open_inference_protocol_read(
    client: httpx2.Client,
) -> None:
    assert client.get("/v2/health/live").json() == {"status": "ok", "live": True}
    assert client.get("/v2/health/ready").json() == {"status": "ok", "ready": True}


def test_the_model_has_the_name_that_a_setting_gives_it_and_is_not_ready_while_it_loads(
    detector: Detector,
) -> None:
    loads = threading.Event()

    def load() -> Detector:
        loads.wait(30)
        return detector

    with serving(load, wait=False, served_name="weakpoints") as client:
        answer = client.get("/v1/models/weakpoints")
        loads.set()
        assert refused(answer, 503, "unavailable")["retry_after"]
        until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/v1/models/weakpoints").json()["ready"] is True
        assert client.get("/v1/models/toy").status_code == 404


def test_explain_answers_as_detect_does_for_each_instance_in_order(
    client: httpx2.Client, photo: bytes, other: bytes
) -> None:
    answer = ask(client, "explain", photo, other, max_keypoints=5).json()
    assert set(answer) == {"predictions", "explanations"}
    for sent, prediction, explanation in zip(
        (photo, other), answer["predictions"], answer["explanations"], strict=True
    ):
        alone = client.post("/detect", files={"image": sent}, params={"max_keypoints": 5}).json()
        assert explanation["keypoints"] == alone["keypoints"]
        assert explanation["image"] == alone["image"]
        assert explanation["prediction"] == prediction == alone["prediction"]
        assert explanation["heatmap"] is None


def test_predict_gives_the_classes_and_neither_occludes_nor_walks_back(
    client: httpx2.Client, photo: bytes, other: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(client, "explain", photo, other, top_classes=3).json()["predictions"]
    monkeypatch.setattr("weakpoints.method.detector.occluded_logits", lambda *args: 1 / 0)
    monkeypatch.setattr("weakpoints.method.detector.fine_maps", lambda *args, **kwargs: 1 / 0)
    answer = ask(client, "predict", photo, other, top_classes=3, seed=1)
    assert answer.json() == {"predictions": expected}
    assert ask(client, "explain", photo, seed=1).status_code == 500
    assert len(expected[0]["top"]) == 3


@pytest.mark.parametrize(
    "drawing",
    [
        {},
        {"map": "coarse", "style": "gray16", "size": "network"},
        {"target_class": "cat,dog", "drawn_class": "dog"},
    ],
)
def test_the_heatmap_is_that_of_heatmap(
    client: httpx2.Client, photo: bytes, drawing: dict[str, str]
) -> None:
    answer = ask(client, "explain", photo, heatmap=True, **drawing).json()
    alone = client.post("/heatmap", files={"image": photo}, params=drawing)
    assert b64decode(answer["explanations"][0]["heatmap"]["b64"]) == alone.content


def test_the_heatmaps_of_a_request_are_together_no_larger_than_one_may_be(
    client: httpx2.Client, photo: bytes
) -> None:
    told = refused(ask(client, "explain", *[photo] * 3, heatmap=True), 413, "too-large")
    assert (told["actual"], told["limit"], told["index"]) == (160 * 120, 40_000 // 3, 0)
    assert ask(client, "explain", *[photo] * 3, heatmap=True, size="network").status_code == 200


def test_parameters_may_be_numbers_and_lists(client: httpx2.Client, photo: bytes) -> None:
    def used(**parameters: object) -> dict[str, object]:
        answer = ask(client, "explain", photo, **parameters).json()
        options: dict[str, object] = answer["explanations"][0]["options"]
        return options

    assert used(target_class=2)["target_class"] == 2
    assert used(target_class=["cat", 3])["target_class"] == [2, 3]
    assert used(roi=[10, 5, 100, 90])["roi"] == used(roi="10,5,100,90")["roi"] == [10, 5, 100, 90]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"pach": 3}, "no option 'pach'; options are background, colours"),
        ({"keep": 1.5}, "keep is '1.5': Input should be less than or equal to 1"),
        ({"target_class": "unicorn"}, "none of the 6 labels"),
        ({"patch": 57}, "input side is 56"),
        ({"heatmap": True, "map": "warm"}, "'fused', 'coarse' or 'fine'"),
        ({"drawn_class": 3, "target_class": [1, 2]}, "none of the classes of target_class"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_range(
    client: httpx2.Client, photo: bytes, parameters: dict[str, object], says: str
) -> None:
    told = refused(ask(client, "explain", photo, **parameters), 422, "bad-option")
    assert says in str(told["error"])
    assert told["option"] in parameters


def test_predict_takes_no_heatmap(client: httpx2.Client, photo: bytes) -> None:
    refused(ask(client, "predict", photo, heatmap=True), 422, "bad-option")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body: Invalid JSON"),
        (b"photo", "the body: Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"{}", "instances: Field required"),
        (b'{"instances": []}', "instances: List should have at least 1 item"),
        (b'{"instances": ["aGk="]}', "instances.0: Input should be an object"),
        (b'{"instances": [{"data": "aGk="}]}', "instances.0.b64: Field required"),
        (b'{"instances": [{"b64": 7}]}', "instances.0.b64: Input should be a valid string"),
        (b'{"instances": [{"b64": "aGk="}], "inputs": []}', "inputs: Extra inputs"),
        (b'{"instances": [{"b64": "aGk="}], "parameters": 1}', "parameters: Input should be"),
        (b'{"instances": [{"b64": "\xff"}]}', "the body: Invalid JSON"),
        (b"[" * 500, "the body: Invalid JSON"),
    ],
)
def test_what_is_no_request_is_said_to_be_none(body: bytes, says: str) -> None:
    with pytest.raises(MalformedRequest) as told:
        parse(body, MOST, 16)
    assert says in told.value.detail
    assert '{"instances": [{"b64": "..."}]}' in told.value.detail


@pytest.mark.parametrize(
    "text",
    ["a", "aGk\u00e9", "aG=k"],
)
def test_wrong_base64_is_told_with_its_instance(client: httpx2.Client, text: str) -> None:
    body = {"instances": [*instances(b"fine"), {"b64": text}]}
    answer = client.post("/v1/models/toy:predict", json=body)
    told = refused(answer, 400, "malformed-request")
    assert told["index"] == 1
    assert "not base64" in str(told["error"])


def test_a_photograph_s_size_is_checked_before_it_is_decoded(client: httpx2.Client) -> None:
    for size in (MOST - 2, MOST - 1, MOST):
        body = json.dumps({"instances": instances(bytes(size))}).encode()
        assert parse(body, MOST, 16).photographs == (bytes(size),)
    told = refused(ask(client, "predict", bytes(MOST + 1)), 413, "too-large")
    assert (told["limit"], told["actual"], told["index"]) == (MOST, MOST + 1, 0)
    wrong = {"instances": [{"b64": "?" * (MOST * 4 // 3 + 8)}]}
    refused(client.post("/v1/models/toy:predict", json=wrong), 413, "too-large")


def test_a_body_is_refused_by_its_length_and_by_what_comes(client: httpx2.Client) -> None:
    most = most_bytes(MOST)
    for content in (bytes(most + 1), (bytes(50_000) for _ in range(7))):
        told = refused(client.post("/v1/models/toy:explain", content=content), 413, "too-large")
        assert told["limit"] == most


def test_more_instances_or_values_than_are_read_are_refused(client: httpx2.Client) -> None:
    told = refused(ask(client, "predict", *[b"x"] * 17), 413, "too-large")
    assert told["error"] == "17 instances came; at most 16 are accepted"
    with pytest.raises(MalformedRequest, match=f"at most {VALUES} are read"):
        parse(b"[" + b"{}," * VALUES, MOST, 16)


def test_a_photograph_that_cannot_be_read_is_told_with_its_instance(
    client: httpx2.Client, photo: bytes
) -> None:
    told = refused(ask(client, "explain", photo, b"no picture"), 415, "unsupported-media-type")
    assert told["index"] == 1
    assert "JPEG" in str(told["error"])


def test_the_deadline_is_of_the_whole_request(detector: Detector, photo: bytes) -> None:
    slow = faulty(detector)
    endless = encoded(np.zeros((60, 70, 3), np.uint8))
    with serving(lambda: slow) as client:
        body = {"instances": instances(photo, endless), "parameters": BOXES}
        for seconds in ("0.5", "4", "30"):  # until they are enough for the first photograph
            headers = {"x-request-timeout": seconds}
            answer = client.post("/v1/models/toy:explain", json=body, headers=headers)
            refused(answer, 504, "deadline-passed")
            if slow.chunks:
                break
        assert slow.stopped.wait(30)


def test_a_key_is_needed_where_keys_are(detector: Detector, photo: bytes, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("open-sesame\n")
    with serving(lambda: detector, api_keys=keys) as client:
        for answer in (ask(client, "predict", photo), client.get("/v1/models")):
            refused(answer, 401, "unauthorized")
        client.headers["authorization"] = "Bearer open-sesame"
        assert ask(client, "predict", photo).status_code == 200


def test_openapi_tells_of_instances_parameters_and_every_refusal(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    explain = paths["/v1/models/{name}:explain"]["post"]
    schema = explain["requestBody"]["content"]["application/json"]["schema"]
    assert {"heatmap", "map", "patch"} <= set(schema["properties"]["parameters"]["properties"])
    assert {"200", "400", "401", "404", "413", "415", "422", "429", "503", "504"} <= set(
        explain["responses"]
    )
    assert "$defs" not in json.dumps(schema)


def test_the_example_agrees_with_the_settings_and_the_probes(client: httpx2.Client) -> None:
    told = yaml.safe_load((Path(__file__).parents[3] / "docs" / "kserve.yaml").read_text())
    predictor = told["spec"]["predictor"]
    (container,) = predictor["containers"]
    given = {
        each["name"].removeprefix("WEAKPOINTS_").lower(): each["value"] for each in container["env"]
    }
    settings = Settings(**given)
    assert settings.served_name == told["metadata"]["name"]
    assert container["ports"][0]["containerPort"] == settings.port
    assert predictor["timeout"] > settings.request_timeout
    ends = predictor["terminationGracePeriodSeconds"]
    assert ends > settings.drain_delay + settings.stop_timeout
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert (asked["port"], client.get(asked["path"]).status_code) == (settings.port, 200)
