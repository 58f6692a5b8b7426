"""What Ray Data's tasks and actors do, in this process; tests/test_cluster.py has them on a
cluster.
"""

import json
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from app.batch.collection import open_collection
from app.batch.run import plain
from app.cluster.reading import read_pixels
from app.cluster.start import Share
from app.settings import Settings
from tests.service import encoded
from tests.toys import lost_toy, toy
from weakpoints.errors import WeakpointsError, WeightsError
from weakpoints.method.detector import Detector
from weakpoints.options import WHITE, Limits, choose

data = pytest.importorskip("app.cluster.data", exc_type=ImportError)
OPTIONS = choose(patch=14, stride=14)


def test_tasks_and_actors_make_the_rows_of_the_plain_engine(
    detector: Detector, photograph: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photograph))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    reader, locate = open_collection(str(tmp_path)).reader, data.Locate(toy, OPTIONS)
    names = ["a.png", "broken.png", "gone.png"]
    items = [read_pixels({"file_name": name}, reader, Limits(), WHITE) for name in names]
    lines = [locate(item)["line"] for item in items]
    assert lines == list(plain(detector, reader, OPTIONS, Limits())(names))
    assert [json.loads(line).get("error") is None for line in lines] == [True, False, False]
    assert json.loads(lines[2])["error"] == "No such file or directory", (
        "and no path of this machine"
    )


def test_a_worker_without_a_network_or_a_device_says_why_the_run_is_over() -> None:
    def missing() -> Detector:
        raise WeightsError("network 'x' has no weights")

    item = {
        "file_name": "a.png",
        "error": "",
        "height": 64,
        "bands": 3,
        "pixels": bytes(64 * 64 * 3),
    }
    assert data.Locate(missing, OPTIONS)(item) == {"line": "", "over": "network 'x' has no weights"}
    assert data.Locate(partial(lost_toy, Settings()), OPTIONS)(item) == {
        "line": "",
        "over": "the device is gone",
    }


def test_what_ray_gives_up_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    collection, items = open_collection(str(tmp_path)), MagicMock()
    items.map().map().iter_rows.side_effect = data.ExecutionTimeoutError(
        "no progress for 1800 s\nOperators: ..."
    )
    monkeypatch.setattr(data.ray.data, "from_items", lambda *args, **how: items)
    with pytest.raises(
        WeakpointsError, match=r"^the cluster gave up: no progress for 1800 s; go on with --resume$"
    ):
        list(data.on_ray(toy, Share(), collection.reader, OPTIONS, Limits())(collection.names))


def test_blocks_keep_every_worker_busy_to_the_end_and_are_small() -> None:
    assert [
        data.block_size(*each) for each in ((1, 1), (7, 1), (8, 2), (1000, 2), (10**9, 64))
    ] == [1, 2, 1, 16, 16]


def test_nothing_to_do_asks_nothing_of_ray(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    reader = open_collection(str(tmp_path)).reader
    assert list(data.on_ray(toy, Share(), reader, OPTIONS, Limits())([])) == []
