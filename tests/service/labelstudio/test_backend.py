"""What Label Studio sends, as it sends it, and what it gets."""

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.service.labelstudio.regions import brushed
from tests.images.test_rle import decoded
from tests.landmarks.conftest import NAMES, PLACES, scene
from tests.service import Held, encoded, picture, serving
from tests.service.labelstudio.conftest import (
    CONFIG,
    KEY,
    LabelStudio,
    annotation,
    exported,
    predicted,
    project,
    project_uid,
    task,
    webhook,
)
from weakpoints.coco import HALF
from weakpoints.method.detector import Detector
from weakpoints.options import choose

UNNAMED = CONFIG.replace('<Label value="nose"/>', '<Label value="keypoint"/>')
NUMBERS = count(100)


@pytest.fixture(scope="module")
def client_of_module(
    detector: Detector, label_studio_of_module: LabelStudio
) -> Iterator[httpx2.Client]:
    for i in range(4):
        label_studio_of_module.photograph(f"/data/upload/3/{i}.png", (2 * i, i))
    url = label_studio_of_module.url
    settings = {"label_studio_url": url, "label_studio_api_key": KEY}
    with serving(lambda: detector, max_bytes=200_000, max_references=3, **settings) as client:
        client.params = {}
        yield client


@pytest.fixture
def client(client_of_module: httpx2.Client) -> httpx2.Client:
    """The same for every test, each with a project of its own."""
    project["number"] = next(NUMBERS)
    return client_of_module


def learn(client: httpx2.Client, number: int, **more: Any) -> httpx2.Response:
    about = task(number, f"/data/upload/3/{number}.png")
    made = annotation(10 + number, (2 * number, number), **more)
    return client.post(
        "/labelstudio/webhook", json=webhook("ANNOTATION_CREATED", task=about, annotation=made)
    )


def predict(client: httpx2.Client, *tasks: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/labelstudio/predict", json=predicted(*tasks, **more))
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def setup(client: httpx2.Client, config: str = CONFIG) -> httpx2.Response:
    body = {
        "project": project_uid(),
        "schema": config,
        "hostname": "http://localhost:8080",
        "access_token": "of-somebody",
        "extra_params": None,
    }
    return client.post("/labelstudio/setup", json=body)


def test_a_backend_is_connected_and_learns_as_people_label(
    client: httpx2.Client, label_studio: LabelStudio, detector: Detector
) -> None:
    health = client.get("/labelstudio/health")
    assert health.json() == {"status": "UP", "model_class": "Weakpoints"}
    before = setup(client).json()["model_version"]
    assert detector.model.sha256[:8] in before
    (nothing,) = predict(client, task(1, "/data/upload/3/1.png"))
    assert "result" not in nothing
    assert "annotate one" in nothing["error"]
    for number in (0, 1, 2):
        told = learn(client, number)
        assert (told.status_code, told.json()) == (201, {"result": None, "status": "ok"})
    after = setup(client).json()["model_version"]
    assert after != before
    tasks = [task(i, f"/data/upload/3/{i}.png") for i in (2, 3)]
    entries = predict(client, *tasks)
    assert [entry["model_version"] for entry in entries] == [after, after]
    assert client.get(f"/labelstudio/versions?project={project['number']}").json() == {
        "versions": [after]
    }
    for i, entry in zip((2, 3), entries, strict=True):
        box, *points = entry["result"]
        assert (box["type"], box["from_name"], box["to_name"]) == (
            "rectanglelabels",
            "box",
            "image",
        )
        assert box["value"]["rectanglelabels"] == ["beast"]
        assert 0 < entry["score"] <= 1
        assert points, "the toy network finds some of them"
        for point in points:
            assert (point["parentID"], point["from_name"]) == (box["id"], "kp")
            assert (point["original_width"], point["original_height"]) == (160, 120)
            name = point["value"]["keypointlabels"][0]
            x, y = (point["value"][axis] * side / 100 for axis, side in (("x", 160), ("y", 120)))
            expected = PLACES[NAMES.index(name)] + (2 * i, i) + HALF
            assert np.hypot(*(expected - (x, y))) < 12
    assert {headers["authorization"] for _, headers in label_studio.asked} == {f"Token {KEY}"}


def test_an_annotation_that_changes_or_goes_is_forgotten(client: httpx2.Client) -> None:
    versions = [setup(client).json()["model_version"]]
    learn(client, 0)
    versions.append(setup(client).json()["model_version"])
    learn(client, 0, nose="snout")
    versions.append(setup(client).json()["model_version"])
    assert len(set(versions)) == 3
    (entry,) = predict(client, task(1, "/data/upload/3/1.png"))
    labels = {r["value"]["keypointlabels"][0] for r in entry["result"] if "parentID" in r}
    assert labels <= {"ear", "tail", "foot"}, "a label that is not in the configuration"
    for action, gone in (
        ("ANNOTATIONS_DELETED", {"annotations": [{"id": 10}]}),
        ("ANNOTATION_CREATED", {"task": task(0, "x"), "annotation": {"id": 10, "result": []}}),
    ):
        learn(client, 0)
        assert client.post("/labelstudio/webhook", json=webhook(action, **gone)).status_code == 201
        assert setup(client).json()["model_version"] == versions[0]
    several = {
        "task": [task(0, "/data/upload/3/0.png")],
        "annotation": [annotation() | {"task": 0}],
    }
    answer = client.post("/labelstudio/webhook", json=webhook("ANNOTATIONS_CREATED", **several))
    assert answer.status_code == 201
    assert setup(client).json()["model_version"] != versions[0]


def test_what_is_annotated_already_is_read_when_it_is_connected(
    client: httpx2.Client, label_studio: LabelStudio
) -> None:
    export = f"/api/projects/{project['number']}/export?exportType=JSON"
    known = task(0, "/data/upload/3/0.png", annotations=[annotation()])
    label_studio.answers[export] = 200, {}, exported(known, task(1, "x"))
    version = setup(client).json()["model_version"]
    (entry,) = predict(client, task(2, "/data/upload/3/2.png"))
    assert entry["result"]
    assert entry["model_version"] == version
    assert [path for path, _ in label_studio.asked].count(export) == 1
    label_studio.answers[export] = 200, {}, b"no JSON"
    assert client.post("/labelstudio/webhook", json=webhook("START_TRAINING")).status_code == 201
    assert [path for path, _ in label_studio.asked].count(export) == 2


def test_without_names_points_need_a_label_of_their_own(client: httpx2.Client) -> None:
    photograph = task(1, "/data/upload/3/1.png")
    (entry,) = predict(client, photograph, label_config=UNNAMED)
    box, *points = entry["result"]
    assert {point["value"]["keypointlabels"][0] for point in points} == {"keypoint"}
    assert {point["parentID"] for point in points} == {box["id"]}
    answer = client.post("/detect", files={"image": encoded(scene((2, 1)))}).json()
    found = [(point["x"] + HALF, point["y"] + HALF) for point in answer["keypoints"]]
    places = [(p["value"]["x"] * 1.6, p["value"]["y"] * 1.2) for p in points]
    np.testing.assert_allclose(places, found, atol=1e-3)
    x, y, w, h = answer["bbox"]
    value = box["value"]
    np.testing.assert_allclose(
        [value["x"] * 1.6, value["y"] * 1.2, value["width"] * 1.6, value["height"] * 1.2],
        [x + HALF, y + HALF, w, h],
        atol=2e-3,
    )
    label = answer["prediction"]["label"]
    strongest = CONFIG.replace(
        '<Label value="nose"/>', f'<Label value="nose" predicted_values="{label}" model_index="0"/>'
    )
    (entry,) = predict(client, photograph, label_config=strongest)
    assert len([r for r in entry["result"] if r["type"] == "keypointlabels"]) == 1


def test_a_brush_has_the_tenth_of_the_map_that_is_highest(client: httpx2.Client) -> None:
    brush = '<View><Image name="i" value="$image"/><BrushLabels name="m" toName="i">'
    brush += '<Label value="x"/></BrushLabels></View>'
    (entry,) = predict(client, task(1, "/data/upload/3/1.png"), label_config=brush)
    (region,) = entry["result"]
    assert (region["type"], region["value"]["format"]) == ("brushlabels", "rle")
    mask = decoded(region["value"]["rle"])
    assert len(mask) == 160 * 120 * 4
    assert set(mask) == {0, 255}
    assert 0.05 < np.mean(np.array(mask) > 0) < 0.2
    (entry,) = predict(client, task(1, "/data/upload/3/1.png"), label_config=UNNAMED)
    assert all(r["type"] != "brushlabels" for r in entry["result"])


def drawn(x: float, y: float, w: float, h: float) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": ["beast"]}
    about = {"type": "rectanglelabels", "original_width": 160, "original_height": 120}
    return {"result": [about | {"value": value}, {"value": {"width": 1, "height": "x"}} | about, 7]}


def test_a_drawn_rectangle_is_what_is_looked_at(client: httpx2.Client) -> None:
    photograph, context = task(1, "/data/upload/3/1.png"), drawn(10, 10, 40, 50)
    (entry,) = predict(client, photograph, label_config=UNNAMED, context=context)
    assert {r["type"] for r in entry["result"]} == {"keypointlabels"}, "it has a box already"
    assert all(10 <= r["value"]["x"] <= 50 and 10 <= r["value"]["y"] <= 60 for r in entry["result"])
    learn(client, 0)
    (entry,) = predict(client, photograph, context=context)
    assert all(10 <= r["value"]["x"] <= 50 for r in entry["result"])
    (entry,) = predict(client, task(9, "/gone.png"), context=context)
    assert (entry["result"], entry["score"]) == ([], 0.0), "a browser reads it"


def test_a_set_is_kept_where_that_is_allowed_and_found_after_a_start(
    detector: Detector, label_studio: LabelStudio, tmp_path: Path
) -> None:
    label_studio.photograph("/data/upload/3/0.png")
    label_studio.photograph("/data/upload/3/1.png", (2, 1))
    settings: dict[str, Any] = {"label_studio_url": label_studio.url, "landmarks": tmp_path}
    with serving(lambda: detector, landmarks_writable=True, **settings) as client:
        client.params = {}
        learn(client, 0)
        (first,) = predict(client, task(1, "/data/upload/3/1.png"))
        predict(client, task(1, "/data/upload/3/1.png"))
        (card,) = client.get("/landmarks").json()["landmark_sets"]
    assert (card["name"], card["references"], card["category"]) == ("label-studio-7", 1, "beast")
    with serving(lambda: detector, **settings) as client:
        client.params = {}
        version = setup(client).json()["model_version"]
        (again,) = predict(client, task(1, "/data/upload/3/1.png"))
    assert again["result"] == first["result"]
    assert again["model_version"] == version
    assert all("authorization" not in headers for _, headers in label_studio.asked)


def test_a_batch_that_takes_too_long_is_answered_in_part(
    detector: Detector, label_studio: LabelStudio
) -> None:
    gate = threading.Event()
    held = Held(detector.occluder, detector.model, detector.input, gate=gate)
    label_studio.photograph("/0.png")
    settings = {"label_studio_url": label_studio.url, "request_timeout": 2}
    with serving(lambda: held, **settings) as client:
        client.params = {}
        entries = predict(client, *(task(i, "/0.png") for i in range(9)), label_config=UNNAMED)
        gate.set()
    assert len(entries) == 9
    assert all("result" not in entry and "no time" in entry["error"] for entry in entries)


def test_an_unknown_event_is_not_an_error(client: httpx2.Client) -> None:
    answer = client.post("/labelstudio/webhook", json=webhook("PROJECT_UPDATED"))
    assert (answer.status_code, answer.json()) == (200, {"status": "Unknown event"})


def test_the_map_lies_on_the_photograph_as_the_network_saw_it(
    detector: Detector, photograph: np.ndarray
) -> None:
    """Against the pixel-by-pixel way, with a part that alone was looked at."""
    found = detector.locate(photograph, choose(patch=14, stride=14, roi=(20, 10, 90, 80)))
    fused, side = found.maps.fused, len(found.maps.fused)
    level = np.quantile(fused[np.isfinite(fused)], 0.9)
    expected = np.zeros(photograph.shape[:2], bool)
    for y in range(120):
        for x in range(160):
            column, row = np.rint(found.frame.to_network(np.array([[x, y]], float))[0])
            if 0 <= column < side and 0 <= row < side:
                expected[y, x] = fused[int(row), int(column)] >= level
    np.testing.assert_array_equal(brushed(found), expected)
    assert not brushed(found)[:, 115:].any()


def test_what_fails_here_is_not_told_and_stops_no_other_task(
    detector: Detector, label_studio: LabelStudio
) -> None:
    gate = threading.Event()
    gate.set()
    held = Held(detector.occluder, detector.model, detector.input, gate=gate)
    label_studio.answers["/66.png"] = 200, {}, picture(66)
    label_studio.photograph("/0.png")
    with serving(lambda: held, label_studio_url=label_studio.url) as client:
        client.params = {}
        tasks = task(1, "/66.png"), task(2, "/0.png")
        failed, good = predict(client, *tasks, label_config=UNNAMED)
    assert failed["error"] == "something went wrong here; the log has it"
    assert good["result"]


def test_a_set_that_is_damaged_or_can_not_be_kept_stops_nothing(
    detector: Detector, label_studio: LabelStudio, tmp_path: Path
) -> None:
    label_studio.photograph("/data/upload/3/0.png")
    (tmp_path / "label-studio-7.landmarks").write_bytes(b"damaged")
    settings: dict[str, Any] = {"label_studio_url": label_studio.url, "landmarks": tmp_path}
    with serving(lambda: detector, landmarks_writable=True, **settings) as client:
        client.params = {}
        assert setup(client).status_code == 200
        (tmp_path / "label-studio-7.landmarks").unlink()
        tmp_path.rename(tmp_path.with_name("elsewhere"))
        learn(client, 0)
        (entry,) = predict(client, task(1, "/data/upload/3/0.png"))
    assert entry["result"]
