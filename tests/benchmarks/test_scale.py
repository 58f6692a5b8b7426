"""The arithmetic of more workers, on stand-ins for the cluster; tests/test_cluster.py has the
cluster.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.batch.collection import open_collection
from app.batch.run import Engine, plain
from app.cli import main as cli
from app.cluster.start import Share
from app.settings import Settings
from benchmarks import scale as module
from tests.service import encoded, serving
from tests.toys import quick
from weakpoints.errors import WeakpointsError
from weakpoints.method.detector import Detector

serving_room = pytest.importorskip("app.cluster.serving", exc_type=ImportError)
data_room = pytest.importorskip("app.cluster.data", exc_type=ImportError)


@pytest.fixture
def photographs(tmp_path: Path, photograph: np.ndarray) -> Path:
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(encoded(photograph))
    return tmp_path


@contextmanager
def in_a_thread(settings: Settings, share: Share, load: Callable[[], Detector]) -> Iterator[None]:
    with serving(load, cache_bytes=0) as client:
        module.SCALE_PORT = client.base_url.port or 0
        yield


def in_turns(
    load: Callable[[], Detector], share: Share, reader: object, options: object, limits: object
) -> Engine:
    """Workers of which each does one photograph, then the next: they overlap on any machine."""
    made = [plain(load(), reader, options, limits) for _ in range(share.workers)]

    def lines(names: Sequence[str]) -> Iterator[str]:
        shares = (made[i](names[i :: share.workers]) for i in range(share.workers))
        for lines_of_each in zip(*shares, strict=True):
            yield from lines_of_each

    return lines


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_room, "running", in_a_thread)
    monkeypatch.setattr(data_room, "on_ray", in_turns)
    monkeypatch.setattr(module, "connected", lambda **how: nullcontext())
    monkeypatch.setattr(module, "loaded", lambda settings: quick(0.02))
    monkeypatch.setattr(module, "SCALE_PORT", module.SCALE_PORT)
    monkeypatch.setattr(module, "WORKERS", (1, 2))


def test_rates_latencies_and_files_are_measured(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--images",
        str(photographs),
        "--count",
        "8",
        "--device-ms",
        "50",
        "--limit",
        "8",
        "--json",
    ]
    assert cli.main(["benchmark", "scale", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    alone = found["sleeping_service_1"]["images_per_second"]
    for workers in (1, 2):  # which are one here
        full, calm = (
            found[f"sleeping_service_{workers}"],
            found[f"sleeping_service_{workers}"]["at_load"],
        )
        assert full["images_per_second"] < 20.1
        assert full["efficiency"] == full["images_per_second"] / (workers * alone)
        assert full["statuses"] == calm["statuses"] == {"200": 8 * workers}
        assert min(calm["mean_s"], calm["p95_s"]) > 0.05
        batch = found[f"sleeping_collection_{workers}"]
        assert 0 < batch["start_s"] <= batch["total_s"]
        assert 0 < batch["images_per_second"] < 20.1 * workers
        assert batch["efficiency"] == pytest.approx(
            batch["images_per_second"]
            / (workers * found["sleeping_collection_1"]["images_per_second"])
        )
    assert found["photographs"] == 8
    assert set(found["network_plain"]["bytes_per_image"]) == {
        "keypoints.coco.json",
        "keypoints.parquet",
        "rows.jsonl",
    }


def test_workers_that_never_work_at_the_same_time_have_no_rate(photographs: Path) -> None:
    one = replace(collection := open_collection(str(photographs)), names=collection.names[:1])
    with pytest.raises(
        WeakpointsError, match="1 photographs are too few for 1 workers to work at the same time"
    ):
        module._collection_figures(one, Share(1), partial(quick, 0.0))


def test_what_can_not_be_measured_is_refused(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", "scale", "--images", str(photographs), "--count", "0"]) == 2
    assert 'Invalid value "0" for --count' in capsys.readouterr().err
