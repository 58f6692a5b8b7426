"""The function that CVAT calls through Nuclio: it forwards, and answers as CVAT expects."""

import base64
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx2
import pytest

from tests.landmarks.conftest import NAMES, PLACES, coco, scene
from tests.service import encoded, serving
from weakpoints.landmarks.annotations import read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.learning import learn
from weakpoints.method.detector import Detector
from weakpoints.options import choose

FILE = Path(__file__).parents[2] / "integrations" / "nuclio" / "main.py"


@pytest.fixture(scope="module")
def function() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nuclio_main", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def service(
    detector: Detector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("sets")
    marked = read_annotations(json.dumps(coco({"a.png": PLACES})), "beast.json")
    learn(Describer(detector), marked, lambda name: scene(), choose()).save(
        folder / "beast.landmarks"
    )
    with serving(lambda: detector, landmarks=folder) as client:
        yield client


class Context:
    """Nuclio's: what a function keeps, and what it answers with."""

    def __init__(self) -> None:
        self.user_data = SimpleNamespace()

    def Response(self, **answer: Any) -> SimpleNamespace:  # noqa: N802, Nuclio's name
        return SimpleNamespace(**answer)


def call(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, body: Any, **environment: str
) -> SimpleNamespace:
    for name, value in environment.items():
        monkeypatch.setenv(f"WEAKPOINTS_{name}", value)
    context = Context()
    function.init_context(context)
    answer: SimpleNamespace = function.handler(context, SimpleNamespace(body=body))
    context.user_data.client._http.close()
    return answer


IMAGE = base64.b64encode(encoded(scene((2, 1)))).decode()


def test_keypoints_are_points_from_the_corner(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, service: httpx2.Client
) -> None:
    body = json.dumps({"image": IMAGE, "threshold": 0.0})
    answer = call(function, monkeypatch, body, URL=str(service.base_url), LABEL="corner")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    service.params = {}
    (raw,) = [service.post("/detect", files={"image": encoded(scene((2, 1)))}).json()]
    expected = [[point["x"] + 0.5, point["y"] + 0.5] for point in raw["keypoints"]]
    shapes = json.loads(answer.body)
    assert [shape["points"] for shape in shapes] == expected
    assert {(shape["label"], shape["type"]) for shape in shapes} == {("corner", "points")}
    none = call(function, monkeypatch, {"image": IMAGE, "threshold": 1.1})
    assert json.loads(none.body) == []


def test_a_landmark_set_is_a_skeleton_with_every_point_once(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, service: httpx2.Client
) -> None:
    environment = {"URL": str(service.base_url), "LANDMARKS": "beast", "LABEL": "beast"}
    answer = call(function, monkeypatch, {"image": IMAGE}, **environment)
    (skeleton,) = json.loads(answer.body)
    assert (skeleton["label"], skeleton["type"]) == ("beast", "skeleton")
    assert [element["label"] for element in skeleton["elements"]] == NAMES
    assert {element["outside"] for element in skeleton["elements"]} <= {0, 1}
    none = call(function, monkeypatch, {"image": IMAGE, "threshold": 1.1})
    assert json.loads(none.body) == []


def test_a_refusal_is_told_with_its_status(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, service: httpx2.Client
) -> None:
    body = {"image": base64.b64encode(b"text").decode()}
    answer = call(function, monkeypatch, body, URL=str(service.base_url))
    assert answer.status_code == 415
    assert "are read" in json.loads(answer.body)["error"]
