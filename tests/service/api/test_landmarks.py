"""Named points over HTTP: sets that are kept, and references sent along."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from tests.landmarks.conftest import NAMES, PLACES, coco, scene
from tests.service import encoded, serving
from weakpoints.landmarks.annotations import read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import learn
from weakpoints.method.detector import Detector
from weakpoints.options import choose

SHIFTS = {"a.png": (0, 0), "b.png": (6, 4)}
COCO = json.dumps(coco({name: PLACES + shift for name, shift in SHIFTS.items()}))
LINES = {"accept": "application/x-ndjson"}
SET = {"accept": "application/x-landmarks"}


@pytest.fixture(scope="module")
def learnt(detector: Detector) -> LandmarkSet:
    images = {name: scene(shift) for name, shift in SHIFTS.items()}
    marked = read_annotations(COCO, "beast.json")
    return learn(Describer(detector), marked, images.__getitem__, choose())


@pytest.fixture(scope="module")
def client(
    detector: Detector, learnt: LandmarkSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("sets")
    learnt.save(folder / "beast.landmarks")
    (folder / "broken.landmarks").write_bytes(b"no")
    options = {"landmarks": folder, "landmarks_writable": True, "max_references": 3}
    with serving(lambda: detector, max_objects=3, max_bytes=400_000, **options) as client:
        client.params = {}
        yield client


def photograph(shift: tuple[int, int] = (3, 2)) -> bytes:
    return encoded(scene(shift))


def images(*shifts: tuple[int, int]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("image", (f"{i}.png", photograph(shift))) for i, shift in enumerate(shifts)]


def references(*names: str, text: str = COCO) -> list[tuple[str, tuple[str, bytes]]]:
    files = [
        ("reference", (name, photograph(SHIFTS.get(name, (0, 0))))) for name in names or SHIFTS
    ]
    return [*files, ("annotations", ("coco.json", text.encode()))]


def test_the_sets_at_hand_are_listed_and_what_is_broken_too(client: httpx2.Client) -> None:
    told = client.get("/landmarks").json()
    assert [each["name"] for each in told["landmark_sets"]] == ["beast"]
    assert told["landmark_sets"][0]["usable"]
    assert [each["name"] for each in told["landmark_sets"][0]["landmarks"]] == NAMES
    assert "cut short" in told["broken"]["broken"]


def test_a_photograph_gets_named_points_in_its_pixels(client: httpx2.Client) -> None:
    answer = client.post("/landmarks/beast", files=images((3, 2)))
    found = answer.json()
    assert [point["name"] for point in found["landmarks"]] == NAMES
    assert found["skeleton"] == [[0, 1], [1, 2]]
    assert found["image"] == {"width": 160, "height": 120}
    assert "landmarks;dur=" in answer.headers["server-timing"]
    assert "landmarks" in found["timing_ms"]
    assert 'stage="landmarks"' in client.get("/metrics").text
    raw = client.post(
        "/landmarks/beast", content=photograph(), headers={"content-type": "image/png"}
    )
    assert raw.json()["landmarks"] == found["landmarks"]


def test_references_that_come_along_do_the_same_as_the_set(client: httpx2.Client) -> None:
    kept = client.post("/landmarks/beast", files=images((3, 2))).json()
    sent = client.post("/landmarks", files=[*references(), *images((3, 2))]).json()
    for ours, theirs in zip(kept["landmarks"], sent["landmarks"], strict=True):
        assert (ours["x"], ours["y"]) == pytest.approx((theirs["x"], theirs["y"]), abs=0.01)


def test_each_roi_is_an_object_in_their_order(client: httpx2.Client) -> None:
    canvas = encoded(np.concatenate([scene(), scene((6, 4))], 1))
    boxes = ["160,0,160,120", "0,0,160,120"]
    found = client.post(
        "/landmarks/beast", params={"roi": boxes}, files=[("image", ("p.png", canvas))]
    ).json()
    assert [each["roi"] for each in found["objects"]] == [[160, 0, 160, 120], [0, 0, 160, 120]]
    assert found["landmarks"] == found["objects"][0]["landmarks"]
    alone = client.post(
        "/landmarks/beast", params={"roi": boxes[1]}, files=[("image", ("p.png", canvas))]
    ).json()
    assert alone["landmarks"] == found["objects"][1]["landmarks"]


@pytest.mark.parametrize("path", ["/landmarks/beast", "/landmarks"])
def test_several_photographs_are_answered_each_by_itself(client: httpx2.Client, path: str) -> None:
    files = [*images((0, 0), (3, 2)), ("image", ("bad.png", b"GIF89a"))]
    files += references() if path == "/landmarks" else []
    results = client.post(path, files=files).json()["results"]
    assert [each["index"] for each in results] == [0, 1, 2]
    assert results[2]["problem"]["status"] in (415, 422)
    lines = [
        json.loads(line) for line in client.post(path, files=files, headers=LINES).text.splitlines()
    ]
    assert sorted(each["index"] for each in lines) == [0, 1, 2]
    by_index = {each["index"]: each for each in lines}
    assert by_index[1]["landmarks"] == results[1]["landmarks"]


def test_a_set_is_learnt_sent_home_kept_and_forgotten(client: httpx2.Client) -> None:
    data = client.post("/landmarks", files=references(), headers=SET)
    assert data.headers["content-type"] == "application/x-landmarks"
    assert LandmarkSet.of_bytes(data.content, "x").names == tuple(NAMES)
    told = client.put("/landmarks/mine", content=data.content).json()
    assert (told["name"], told["references"]) == ("mine", 2)
    assert client.put("/landmarks/second", files=references("a.png")).json()["references"] == 1
    assert client.post("/landmarks/mine", files=images((0, 0))).status_code == 200
    assert client.delete("/landmarks/mine").status_code == 204
    assert client.delete("/landmarks/second").status_code == 204
    assert client.post("/landmarks/mine", files=images((0, 0))).status_code == 404
    assert client.delete("/landmarks/mine").status_code == 404


OUTSIDE = json.dumps(coco({"a.png": PLACES + 500}))
BAD = {
    "no annotations": (references()[:-1], {}, 422, "part named 'annotations'"),
    "no reference": (references()[-1:], {}, 422, "part named 'reference'"),
    "another file name": (references("c.png"), {}, 422, "of reference 'c.png'"),
    "points outside": (references("a.png", text=OUTSIDE), {}, 422, "outside of 160 x 120"),
    "no JSON": (references(text="{"), {}, 422, "not JSON"),
    "too many": (references(*"abcd"), {}, 413, "at most 3"),
    "no image of a reference": (
        [("reference", ("a.png", b"GIF89a")), references()[-1]],
        {},
        422,
        "reference 'a.png'",
    ),
    "too many objects": ([], {"roi": ["0,0,9,9"] * 4}, 422, "at most 3"),
    "a roi that is none": ([], {"roi": "1,2"}, 422, "four whole numbers"),
    "an unknown option": ([], {"patch": "3"}, 422, "there is no option 'patch'"),
    "an option twice": ([], {"fit": ["squash", "letterbox"]}, 422, "2 times"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_named(client: httpx2.Client, kind: str) -> None:
    files, params, status, what = BAD[kind]
    answer = client.post("/landmarks", params=params, files=[*files, *images((0, 0))])
    assert answer.status_code == status, answer.text
    assert what in answer.json()["detail"]


def test_a_damaged_set_and_a_foreign_one_are_refused(
    client: httpx2.Client, learnt: LandmarkSet
) -> None:
    data = learnt.to_bytes()
    assert client.put("/landmarks/x", content=data[:-9]).json()["title"] == "Bad landmark set"
    foreign = replace(learnt, pattern=replace(learnt.pattern, network="f" * 64)).to_bytes()
    answer = client.put("/landmarks/x", content=foreign)
    assert (answer.status_code, "ffffffffffff" in answer.json()["detail"]) == (422, True)
    assert client.post("/landmarks/broken", files=images((0, 0))).status_code == 422
    assert client.post("/landmarks/..%2Fbeast", files=images((0, 0))).status_code == 404


def test_nothing_is_kept_where_that_is_not_allowed(
    detector: Detector, learnt: LandmarkSet, tmp_path: Path
) -> None:
    learnt.save(tmp_path / "beast.landmarks")
    with serving(lambda: detector, landmarks=tmp_path) as client:
        client.params = {}
        assert client.get("/landmarks").json()["writable"] is False
        assert client.put("/landmarks/x", content=learnt.to_bytes()).status_code == 403
        refused = client.delete("/landmarks/beast")
        assert (refused.status_code, refused.json()["type"][-11:]) == (403, "not-allowed")
        assert client.post("/landmarks/beast", files=images((0, 0))).status_code == 200


def test_answers_are_as_the_schema_tells(client: httpx2.Client) -> None:
    schema = client.get("/openapi.json").json()
    told = schema["paths"]["/landmarks/{name}"]["post"]
    assert "roi" in {each["name"] for each in told["parameters"]}
    document = told["responses"]["200"]["content"]["application/json"]["schema"]
    answer = client.post("/landmarks/beast", files=images((0, 0))).json()
    Draft202012Validator({"components": schema["components"], **document}).validate(answer)
    form = schema["paths"]["/landmarks"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert {"reference", "annotations", "image"} <= set(form["schema"]["properties"])


def test_a_deadline_that_has_passed_ends_it(client: httpx2.Client) -> None:
    late = client.post(
        "/landmarks/beast", files=images((0, 0)), headers={"x-request-timeout": "0.000001"}
    )
    assert late.status_code == 504
