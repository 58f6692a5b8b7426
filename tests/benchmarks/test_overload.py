"""A service that gets more than it can answer: what can't be in time is refused at once."""

import asyncio

from benchmarks.overload import overload
from tests.service import serving
from tests.toys import Slowed
from weakpoints.method.detector import Detector


def test_at_three_times_the_load_the_device_works_for_answers_that_arrive(
    detector: Detector,
) -> None:
    slow = Slowed(detector.occluder, detector.model, detector.input, seconds=0.1)
    with serving(lambda: slow, proxies=["127.0.0.1"], cache_bytes=0) as client:
        found = asyncio.run(
            overload(str(client.base_url), times=3, seconds=2, deadline=1, callers=8)
        )
    assert found["device_s_alone"] > 0.1
    assert found["statuses"][200] >= 5
    assert found["statuses"][429] >= 5
    assert set(found["statuses"]) == {200, 429}, "nobody waits for a 504"
    assert found["useful_share"] > 0.5
    assert found["refused_after_s"]["p50"] < 1
