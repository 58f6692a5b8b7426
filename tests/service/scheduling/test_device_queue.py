from concurrent.futures import ThreadPoolExecutor

import pytest

from app.service.scheduling.device_queue import Claim, Full, Turns
from tests.service import Held, post, running, until
from weakpoints.method.detector import Detector


def test_a_full_queue_takes_from_who_holds_most_and_else_refuses() -> None:
    turns: Turns[str] = Turns(3, 99)
    for item in "abc":
        assert turns.put(item, Claim("greedy")) == []
    with pytest.raises(Full, match="3 requests are waiting"):
        turns.put("d", Claim("greedy"))
    turns.check(Claim("modest"))
    assert turns.put("X", Claim("modest")) == ["c"]
    with pytest.raises(Full):
        turns.check(Claim("modest"))
    with pytest.raises(Full):
        turns.put("Y", Claim("modest"))
    assert turns.take(3) == ["a", "X", "b"]


def test_pixels_are_held_until_they_are_released_and_one_picture_always_fits() -> None:
    turns: Turns[str] = Turns(9, 100)
    turns.hold(Claim("one", pixels=300))
    with pytest.raises(Full, match=r"300 pixels; one of 1 has .* and 100 is the limit"):
        turns.hold(Claim("two", pixels=1))
    turns.release(Claim("one", pixels=300))
    for item in "ab":
        turns.hold(Claim("one", pixels=30))
        turns.put(item, Claim("one", pixels=30))
    with pytest.raises(Full):
        turns.hold(Claim("one", pixels=21))
    assert turns.hold(Claim("two", pixels=25)) == ["b"]


def test_large_pictures_leave_room_for_a_small_one_however_many_come() -> None:
    turns: Turns[str] = Turns(9, 200)
    for caller in ("a", "b", "c"):
        turns.hold(Claim(caller, pixels=49))
    for pixels in (49, 27):
        with pytest.raises(Full):
            turns.hold(Claim("d", pixels=pixels))
    turns.hold(Claim("d", pixels=16))
    for small in range(18):
        turns.hold(Claim(f"small {small}", pixels=1))


def test_what_is_removed_gives_back_its_place_and_its_turn() -> None:
    turns: Turns[str] = Turns(2, 99)
    turns.put("a", Claim("one"))
    turns.remove("a")
    turns.remove("a")
    turns.put("b", Claim("one"))
    turns.put("X", Claim("two"))
    assert turns.take(9) == ["b", "X"]
    turns.close()
    assert turns.take(1) == []


def test_what_is_dear_is_passed_by_what_is_not() -> None:
    turns: Turns[str] = Turns(9, 99)
    dear = Claim("one", dear=True)
    turns.put("dear", dear)
    assert turns.take(1) == ["dear"]
    turns.put("also dear", Claim("two", dear=True))
    assert turns.passing(dear, 1.0) is None
    turns.put("cheap", Claim("two"))
    assert turns.passing(dear, 1.0) == "cheap"
    turns.done(Claim("two"), 2.0)
    turns.done(dear, 1.0)
    assert turns.take(9) == ["also dear"]


def test_one_caller_s_queue_does_not_keep_another_waiting(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    proxied = {"proxies": ["127.0.0.1"], "queue_size": 3}
    with running(lambda: held, **proxied) as (server, client), ThreadPoolExecutor(8) as pool:
        worker = server.service.locator.worker
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
        locator = server.service.locator
        places = [locator.place("greedy") for _ in range(3)]
        with pytest.raises(Exception, match="3 pictures of one caller are being received"):
            locator.place("greedy")
        places.append(locator.place("modest"))
        with pytest.raises(Exception, match="4 pictures are being received"):
            locator.place("another")
        for place in places:
            place.close()
        assert locator.uploads.borrowed_tokens == 0
        assert not locator._uploads_of
