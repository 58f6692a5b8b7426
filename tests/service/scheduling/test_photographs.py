import numpy as np
import pytest

from app.decoding.pool import Decoders
from app.service.scheduling.forecast import Claim
from app.service.scheduling.photographs import ResultCache, key
from tests.service import STREAM, picture, post, running, serving
from weakpoints.method.detector import Detector
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


def test_an_answer_that_is_known_needs_no_pixels_and_gets_no_429_for_them(
    detector: Detector,
) -> None:
    """The one decoder is broken from the second request on, and other pictures fill the memory."""
    with running(lambda: detector) as (server, client):
        first = post(client, 90)
        worker = server.service.pipeline.worker
        with worker.holding(Claim("somebody", 199_999_999)), pytest.MonkeyPatch.context() as broken:
            broken.setattr(Decoders, "decode", lambda *given: 1 / 0)
            again, stream = post(client, 90), post(client, 90, **STREAM)
            arrays = client.post(
                "/heatmap",
                content=picture(90),
                params={"format": "npz"},
                headers={"content-type": "image/png"},
            )
            broken.undo()
            new = post(client, 91)
            drawn = client.post(
                "/heatmap", content=picture(90), headers={"content-type": "image/png"}
            )
    assert first.json()["keypoints"] == again.json()["keypoints"]
    assert set(again.json()["timing_ms"]) == {"upload", "total"}
    assert "event: result" in stream.text
    assert (arrays.status_code, arrays.headers["cache-status"]) == (200, "weakpoints; hit")
    assert (new.status_code, drawn.status_code) == (429, 429), "they do need pixels"


def test_the_cache_keeps_to_its_bytes_and_drops_what_was_not_asked_for_longest(
    detector: Detector, photograph: np.ndarray
) -> None:
    found = detector.locate(photograph, choose(patch=14, stride=14))
    size = (3 * 56 * 56 + 2 * 16) * 8  # maps; drops and their errors
    cache = ResultCache(2 * size)
    one, two, three = (key(bytes([i]), choose()) for i in range(3))
    cache.put(one, found)
    cache.put(one, found)
    cache.put(two, found)
    assert cache.get(one) is found
    cache.put(three, found)
    assert (cache.get(one), cache.get(two), cache.get(three)) == (found, None, found)
    nothing = ResultCache(0)
    nothing.put(one, found)
    assert nothing.get(one) is None
