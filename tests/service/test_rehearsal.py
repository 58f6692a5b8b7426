"""The device rehearses before the service is ready; what the trial has switched off stays off."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.service.scheduling.device_worker import Worker
from tests.service import Held, post, serving, until
from tests.service.scheduling.test_device_worker import first_then_rest, soon, worker_of
from weakpoints.engine.paths import Tried
from weakpoints.errors import OutOfMemory
from weakpoints.method.detector import Detector
from weakpoints.progress import Progress


def test_the_device_rehearses_in_its_own_thread_before_it_looks_at_anything() -> None:
    order: list[object] = []

    def rehearse(batch: int, progress: Progress) -> int:
        order.append((threading.current_thread().name, batch))
        return batch - 1

    async def scenario() -> None:
        gate, looks = threading.Event(), []

        def look(asked: Sequence[int]) -> Sequence[int]:
            looks.append(list(asked))
            gate.wait(30)
            return asked

        worker: Worker[int, int, int] = Worker(
            look, lambda asked, seen, progress: seen, 9, batch=3, rehearse=rehearse
        )
        await asyncio.wrap_future(worker.ready)
        assert order == [("device", 3)]
        tasks = await first_then_rest(worker, looks, range(6))
        gate.set()
        await asyncio.gather(*tasks)
        worker.close()
        assert looks == [[0], [1, 2], [3, 4], [5]], "as many together as the rehearsal says"

    asyncio.run(scenario())


def test_what_goes_wrong_in_the_rehearsal_is_told_to_who_waits_for_it() -> None:
    def rehearse(batch: int, progress: Progress) -> int:
        raise OutOfMemory("the device has too little memory")

    async def scenario() -> None:
        worker = worker_of(1, rehearse=rehearse)
        with pytest.raises(OutOfMemory):
            await asyncio.wrap_future(worker.ready)
        worker.close()

    asyncio.run(scenario())


def test_a_rehearsal_that_hangs_is_a_device_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.scheduling.device_worker.STUCK", 0.05)
    goes_on, end = threading.Event(), threading.Event()

    def rehearse(batch: int, progress: Progress) -> int:
        goes_on.wait(30)
        while not end.is_set():
            progress("occlusion", 0, 1)
        return batch

    async def scenario() -> None:
        worker = worker_of(1, rehearse=rehearse)
        await soon(lambda: not worker.alive)
        goes_on.set()
        await soon(lambda: worker.alive)
        end.set()
        worker.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("on", [True, False])
def test_pictures_are_looked_at_together_only_where_the_trial_found_that_right(
    detector: Detector, on: bool
) -> None:
    model = replace(detector.model, paths=(Tried("batching", on, why=None if on else "wrong"),))
    held = Held(detector.occluder, model, detector.input)
    with serving(lambda: held, batch=4) as client, ThreadPoolExecutor(4) as pool:
        assert client.get("/model").json()["paths"][0]["on"] is on
        answers = [pool.submit(post, client, 90)]
        until(lambda: 90 in held.seen)
        answers += [pool.submit(post, client, width) for width in (80, 81)]
        until(lambda: "weakpoints_queue_depth 2.0" in client.get("/metrics").text)
        held.gate.set()
        assert [answer.result().status_code for answer in answers] == [200] * 3
        sizes = client.get("/metrics").text
    assert ('weakpoints_batch_size_bucket{le="1.0"} 3.0' in sizes) == (not on)
