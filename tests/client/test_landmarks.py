"""Named points through the client, blocking and with asyncio."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.landmarks.conftest import NAMES, PLACES, coco, scene
from tests.service import encoded, serving
from weakpoints.method.detector import Detector
from weakpoints_client import AsyncClient, Client, Refused

ANNOTATIONS = json.dumps(coco({"a.png": PLACES})).encode()


@pytest.fixture(scope="module")
def url(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("sets")
    with serving(lambda: detector, landmarks=folder, landmarks_writable=True) as service:
        service.params = {}
        files = [("reference", ("a.png", encoded(scene()))), ("annotations", ("c", ANNOTATIONS))]
        assert service.put("/landmarks/beast", files=files).status_code == 200
        yield str(service.base_url)


def call(url: str, asynchronous: bool, name: str, *given: Any, **options: Any) -> Any:
    if not asynchronous:
        with Client(url) as client:
            return getattr(client, name)(*given, **options)

    async def run() -> Any:
        async with AsyncClient(url) as client:
            return await getattr(client, name)(*given, **options)

    return asyncio.run(run())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_named_points_are_typed(url: str, asynchronous: bool) -> None:
    image = encoded(scene((2, 2)))
    found = call(url, asynchronous, "landmarks", image, "beast", seconds=30)
    assert [point.name for point in found.landmarks] == NAMES
    sent = call(
        url,
        asynchronous,
        "landmarks_by_references",
        image,
        {"a.png": encoded(scene())},
        ANNOTATIONS,
    )
    assert [point.x for point in sent.landmarks] == pytest.approx(
        [point.x for point in found.landmarks], abs=0.01
    )
    boxes = ["0,0,160,120", "0,0,100,100"]
    assert len(call(url, asynchronous, "landmarks", image, "beast", roi=boxes).objects) == 2
    assert [each.name for each in call(url, asynchronous, "landmark_sets").landmark_sets] == [
        "beast"
    ]
    with pytest.raises(Refused, match="no landmark set"):
        call(url, asynchronous, "landmarks", image, "plant")


def test_the_folder_of_the_set_is_the_service_s(url: str, tmp_path: Path) -> None:
    assert call(url, False, "landmark_sets").writable
