"""Named points as events and by KServe's protocol: a landmark set is a model of its own."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.service.landmark_sets import LandmarkSets, memory_of
from tests.landmarks.conftest import NAMES
from tests.service import serving
from tests.service.api.test_landmarks import images, learnt, photograph, references  # noqa: F401
from tests.service.api.test_streaming import events
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.method.detector import Detector

EVENTS = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def client(
    detector: Detector,
    learnt: LandmarkSet,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("sets")
    learnt.save(folder / "beast.landmarks")
    (folder / "broken.landmarks").write_bytes(b"no")
    with serving(lambda: detector, landmarks=folder, max_objects=3, max_images=2) as client:
        client.params = {}
        yield client


@pytest.mark.parametrize("path", ["/landmarks/beast", "/landmarks"])
def test_a_stream_tells_progress_and_ends_with_the_same_answer(
    client: httpx2.Client, path: str
) -> None:
    files = images((3, 2)) + (references() if path == "/landmarks" else [])
    alone = client.post(path, files=files).json()
    streamed = events(client.post(path, files=files, headers=EVENTS).text)
    assert [name for name, _ in streamed[:-1]] == ["progress"] * (len(streamed) - 1)
    assert {body["stage"] for _, body in streamed[:-1]} == {"landmarks"}
    name, result = streamed[-1]
    assert (name, result["landmarks"]) == ("result", alone["landmarks"])


def test_a_stream_takes_one_photograph(client: httpx2.Client) -> None:
    refused = client.post("/landmarks/beast", files=images((0, 0), (3, 2)), headers=EVENTS)
    assert refused.status_code == 400


def ask(
    client: httpx2.Client, name: str, *photographs: bytes, **parameters: object
) -> httpx2.Response:
    instances = [{"b64": b64encode(content).decode()} for content in photographs]
    body = json.dumps({"instances": instances, "parameters": parameters})
    return client.post(f"/v1/models/{name}:predict", content=body.encode())


def test_a_landmark_set_is_a_model_that_predicts_named_points(client: httpx2.Client) -> None:
    assert client.get("/v1/models").json() == {"models": ["toy", "beast"]}
    assert client.get("/v1/models/beast").json() == {"name": "beast", "ready": True}
    answer = ask(client, "beast", photograph(), photograph((0, 0)))
    found = answer.json()["predictions"]
    assert [point["name"] for point in found[1]["landmarks"]] == NAMES
    same = client.post("/landmarks/beast", files=images((3, 2))).json()
    assert found[0]["landmarks"] == same["landmarks"]


@pytest.mark.parametrize("roi", [[0, 0, 90, 80], [[0, 0, 90, 80], [9, 9, 80, 80]], "0,0,90,80"])
def test_boxes_are_numbers_or_text(client: httpx2.Client, roi: object) -> None:
    found = ask(client, "beast", photograph(), roi=roi).json()["predictions"][0]
    boxes = [entry["roi"] for entry in found["objects"]]
    assert boxes[0] == [0, 0, 90, 80]
    assert len(boxes) == (2 if isinstance(roi, list) and isinstance(roi[0], list) else 1)


BAD = {
    "no such set": ("nothing", {}, 404, "there is 'toy', 'beast', 'broken'"),
    "a damaged set": ("broken", {}, 422, "cut short"),
    "an option of detect": ("beast", {"patch": 3}, 422, "no option 'patch'"),
    "a box outside": ("beast", {"roi": [0, 0, 900, 9]}, 422, "not inside the image"),
    "too many objects": ("beast", {"roi": [[0, 0, 9, 9]] * 4}, 422, "at most 3"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_told_as_kserves_clients_read_it(client: httpx2.Client, kind: str) -> None:
    name, parameters, status, what = BAD[kind]
    answer = ask(client, name, photograph(), **parameters)
    assert answer.status_code == status
    assert what in answer.json()["error"]


def test_a_landmark_set_does_not_explain(client: httpx2.Client) -> None:
    answer = client.post("/v1/models/beast:explain", content=b"{}")
    assert (answer.status_code, "'toy'" in answer.json()["error"]) == (404, True)


def test_sets_are_kept_as_long_as_memory_for_them_lasts(
    learnt: LandmarkSet,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learnt.save(tmp_path / "beast.landmarks")
    kept = LandmarkSets(tmp_path, writable=False)
    assert kept.get("beast") is kept.get("beast")
    monkeypatch.setattr("app.service.landmark_sets.KEPT", memory_of(learnt) - 1)
    small = LandmarkSets(tmp_path, writable=False)
    assert small.get("beast").to_bytes() == small.get("beast").to_bytes()
    assert small.get("beast") is not small.get("beast")
