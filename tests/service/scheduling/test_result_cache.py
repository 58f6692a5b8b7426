import numpy as np
import pytest

from app.service.scheduling.result_cache import Cache, Key, key
from tests.service import picture, post, serving
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.options import choose


def test_the_same_photograph_is_looked_at_once(detector: Detector) -> None:
    with serving(lambda: detector) as client:
        first, again = post(client, 90), post(client, 90)
        assert (first.headers["cache-status"], again.headers["cache-status"]) == (
            "weakpoints; fwd=miss",
            "weakpoints; hit",
        )
        assert first.json()["keypoints"] == again.json()["keypoints"]
        assert first.json()["id"] != again.json()["id"]
        png = client.post("/heatmap", content=picture(90), headers={"content-type": "image/png"})
        assert png.headers["cache-status"] == "weakpoints; hit"
        other = client.post(
            "/detect",
            content=picture(90),
            headers={"content-type": "image/png"},
            params={"seed": 1},
        )
        assert other.headers["cache-status"] == "weakpoints; fwd=miss"


def test_the_cache_keeps_to_its_bytes_and_drops_what_was_not_asked_for_longest(
    detector: Detector, photograph: np.ndarray
) -> None:
    found = detector.locate(photograph, choose(patch=14, stride=14))
    size = (3 * 56 * 56 + 2 * 16) * 8  # maps; drops and their errors
    cache = Cache(2 * size)
    one, two, three = (key(bytes([i]), choose()) for i in range(3))
    cache.put(one, found)
    cache.put(one, found)
    cache.put(two, found)
    assert cache.get(one) is found
    cache.put(three, found)
    assert (cache.get(one), cache.get(two), cache.get(three)) == (found, None, found)
    nothing = Cache(0)
    nothing.put(one, found)
    assert nothing.get(one) is None


def test_a_damaged_entry_is_worked_out_anew_and_never_served(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Localization] = []
    put = Cache.put

    def spy(self: Cache, key: Key, found: Localization) -> None:
        kept.append(found)
        put(self, key, found)

    monkeypatch.setattr(Cache, "put", spy)
    with serving(lambda: detector) as client:
        first = post(client, 90)
        kept[0].maps.fine[3, 4] += 1e-9
        again = post(client, 90)
        third = post(client, 90)
        assert "weakpoints_refused_total{" not in client.get("/metrics").text
    assert (again.status_code, again.headers["cache-status"]) == (200, "weakpoints; fwd=miss")
    assert first.json()["keypoints"] == again.json()["keypoints"] == third.json()["keypoints"]
    assert third.headers["cache-status"] == "weakpoints; hit"
    assert len(kept) == 2
