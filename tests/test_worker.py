import asyncio
import threading
from collections.abc import Callable

import pytest

from app.errors import DeviceLost, QueueFull, Unavailable
from app.worker import Worker


def test_jobs_run_one_after_the_other_in_one_thread() -> None:
    async def scenario() -> list[str]:
        worker = Worker(8)
        done = await asyncio.gather(*(worker.run(lambda heed: threading.current_thread().name) for _ in range(5)))
        worker.close()
        assert all(each.waited_ms >= 0 for each in done)
        return [each.result for each in done]

    assert asyncio.run(scenario()) == ["device"] * 5


def test_a_failing_job_fails_its_own_caller_only() -> None:
    async def scenario() -> None:
        worker = Worker(8)
        bad, good = await asyncio.gather(worker.run(lambda heed: 1 / 0), worker.run(lambda heed: 7), return_exceptions=True)
        assert isinstance(bad, ZeroDivisionError)
        assert not isinstance(good, BaseException)
        assert good.result == 7
        assert worker.alive
        worker.close()

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once_and_a_cancelled_wait_never_runs() -> None:
    async def scenario() -> None:
        worker, gate, ran = Worker(1), threading.Event(), []
        running = asyncio.create_task(worker.run(lambda heed: gate.wait()))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(worker.run(lambda heed: ran.append("waiting")))
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull, match="1 requests are waiting") as raised:
            await worker.run(lambda heed: ran.append("refused"))
        assert raised.value.figures["retry_after"] >= 1
        waiting.cancel()
        await asyncio.sleep(0.05)
        gate.set()
        await running
        worker.close()
        assert ran == []

    asyncio.run(scenario())


def test_closing_answers_what_was_accepted_and_refuses_what_comes_later() -> None:
    async def scenario() -> None:
        worker, gate = Worker(4), threading.Event()
        accepted = [asyncio.create_task(worker.run(lambda heed: gate.wait(5))) for _ in range(3)]
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(asyncio.to_thread(worker.close))
        await asyncio.sleep(0.05)
        gate.set()
        assert [done.result for done in await asyncio.gather(*accepted)] == [True] * 3
        await closing
        assert not worker.alive
        with pytest.raises(Unavailable):
            await worker.run(lambda heed: None)

    asyncio.run(scenario())


def test_work_whose_caller_is_gone_stops_at_its_next_sign_of_life() -> None:
    async def scenario() -> None:
        worker, began, stopped = Worker(4), threading.Event(), threading.Event()

        def endless(heed: Callable[[], None]) -> None:
            began.set()
            try:
                while True:
                    heed()
            finally:
                stopped.set()

        running = asyncio.create_task(worker.run(endless))
        await asyncio.to_thread(began.wait)
        running.cancel()
        assert await asyncio.to_thread(stopped.wait, 5)
        assert (await worker.run(lambda heed: 7)).result == 7
        worker.close()

    asyncio.run(scenario())


def test_waiting_pictures_are_bounded_by_their_pixels_but_one_is_always_taken() -> None:
    async def scenario() -> None:
        worker, gate = Worker(9, max_pixels=100), threading.Event()
        first = asyncio.create_task(worker.run(lambda heed: gate.wait(5), 500))
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull, match="501 pixels, and 100 is the limit"):
            await worker.run(lambda heed: None, 1)
        gate.set()
        await first
        for _ in range(50):  # the pixels are given back just after the answer
            await asyncio.sleep(0.01)
        assert (await worker.run(lambda heed: 3, 100)).result == 3
        worker.close()

    asyncio.run(scenario())


def test_a_lost_device_is_told_to_all_who_wait_and_stays_lost() -> None:
    async def scenario() -> None:
        gate, told = threading.Event(), []
        worker = Worker(9, lost=lambda: told.append(1))

        def lose(heed: Callable[[], None]) -> None:
            gate.wait(5)
            raise DeviceLost("gone", retry_after=1)

        tasks = [asyncio.create_task(worker.run(each)) for each in (lose, lambda heed: 1, lambda heed: 2)]
        await asyncio.sleep(0.05)
        assert worker.waiting == 2
        gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, Unavailable) for each in answers)
        assert told == [1]
        assert not worker.alive
        with pytest.raises(Unavailable, match="lost"):
            await worker.run(lambda heed: None)
        worker.close()

    asyncio.run(scenario())


def test_a_job_without_a_sign_of_life_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr("app.worker.STUCK", 0.05)
        worker, gate = Worker(1), threading.Event()
        running = asyncio.create_task(worker.run(lambda heed: gate.wait(5)))
        await asyncio.sleep(0.2)
        assert not worker.alive
        gate.set()
        await running
        assert worker.alive
        worker.close()

    asyncio.run(scenario())
