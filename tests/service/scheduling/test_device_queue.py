from concurrent.futures import ThreadPoolExecutor

import pytest

from app.service.scheduling.device_queue import Claim, DeviceQueue, Full
from tests.service import Held, post, running, until
from weakpoints.method.detector import Detector


def test_a_full_queue_takes_from_who_holds_most_and_else_refuses() -> None:
    queue: DeviceQueue[str] = DeviceQueue(3, 99)
    for item in "abc":
        assert queue.put(item, Claim("greedy")) == []
    with pytest.raises(Full, match="3 requests are waiting"):
        queue.put("d", Claim("greedy"))
    queue.check(Claim("modest"))
    assert queue.put("X", Claim("modest")) == ["c"]
    with pytest.raises(Full):
        queue.check(Claim("modest"))
    with pytest.raises(Full):
        queue.put("Y", Claim("modest"))
    assert queue.take(3)[0] == ["a", "X", "b"]


def test_pixels_are_held_until_they_are_released_and_one_picture_always_fits() -> None:
    queue: DeviceQueue[str] = DeviceQueue(9, 100)
    queue.hold(Claim("one", pixels=300))
    with pytest.raises(Full, match=r"300 pixels; one of 1 has .* and 100 is the limit"):
        queue.hold(Claim("two", pixels=1))
    queue.release(Claim("one", pixels=300))
    for item in "ab":
        queue.hold(Claim("one", pixels=30))
        queue.put(item, Claim("one", pixels=30))
    with pytest.raises(Full):
        queue.hold(Claim("one", pixels=21))
    assert queue.hold(Claim("two", pixels=25)) == ["b"]


def test_large_pictures_leave_room_for_a_small_one_however_many_come() -> None:
    queue: DeviceQueue[str] = DeviceQueue(9, 200)
    for caller in ("a", "b", "c"):
        queue.hold(Claim(caller, pixels=49))
    for pixels in (49, 27):
        with pytest.raises(Full):
            queue.hold(Claim("d", pixels=pixels))
    queue.hold(Claim("d", pixels=16))
    for small in range(18):
        queue.hold(Claim(f"small {small}", pixels=1))


def test_what_is_removed_gives_back_its_place_and_its_turn() -> None:
    queue: DeviceQueue[str] = DeviceQueue(2, 99)
    queue.put("a", Claim("one"))
    queue.remove("a")
    queue.remove("a")
    queue.put("b", Claim("one"))
    queue.put("X", Claim("two"))
    assert queue.take(9)[0] == ["b", "X"]
    queue.close()
    assert queue.take(1)[0] == []


def test_what_is_expensive_lets_go_before_it_what_is_not() -> None:
    queue: DeviceQueue[str] = DeviceQueue(9, 99)
    expensive = Claim("one", expensive=True)
    queue.put("dear", expensive)
    assert queue.take(1)[0] == ["dear"]
    queue.put("also dear", Claim("two", expensive=True))
    assert queue.next_preemptor(expensive, 1.0) is None
    queue.put("cheap", Claim("two"))
    assert queue.next_preemptor(expensive, 1.0) == "cheap"
    queue.done(Claim("two"), 2.0)
    queue.done(expensive, 1.0)
    assert queue.take(9)[0] == ["also dear"]


def test_one_caller_s_queue_does_not_keep_another_waiting(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    proxied = {"proxies": ["127.0.0.1"], "queue_size": 3}
    with running(lambda: held, **proxied) as (server, client), ThreadPoolExecutor(8) as pool:
        worker = server.service.pipeline.worker
        first = pool.submit(post, client, 80)
        until(lambda: 80 in held.seen)
        greedy = []
        for n, width in enumerate((81, 82, 83)):
            greedy.append(pool.submit(post, client, width))
            until(lambda n=n: worker.waiting == n + 1)
        assert post(client, 84).status_code == 429
        modest = pool.submit(post, client, 90, **{"x-forwarded-for": "203.0.113.7"})
        refused = greedy[2].result()
        assert (refused.status_code, refused.json()["limit"]) == (429, 3)
        assert "yours holds most" in refused.json()["detail"]
        until(lambda: worker.waiting == 3)
        held.gate.set()
        answers = [each.result() for each in (first, *greedy[:2], modest)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert held.seen.index(90) < held.seen.index(82)


def test_one_caller_has_three_quarters_of_the_uploads(detector: Detector) -> None:
    with running(lambda: detector, uploads=4) as (server, _):
        pipeline = server.service.pipeline
        places = [pipeline.place("greedy") for _ in range(3)]
        with pytest.raises(Exception, match="3 pictures of one caller are being received"):
            pipeline.place("greedy")
        places.append(pipeline.place("modest"))
        with pytest.raises(Exception, match="4 pictures are being received"):
            pipeline.place("another")
        for place in places:
            place.close()
        assert pipeline.uploads.borrowed_tokens == 0
        assert not pipeline._places._of
