import asyncio
import threading

import pytest

from app.errors import QueueFull, Unavailable
from app.worker import Worker


def test_jobs_run_one_after_the_other_in_one_thread() -> None:
    async def scenario() -> list[str]:
        worker = Worker(8)
        done = await asyncio.gather(*(worker.run(lambda: threading.current_thread().name) for _ in range(5)))
        worker.close()
        assert all(each.waited_ms >= 0 for each in done)
        return [each.result for each in done]

    assert asyncio.run(scenario()) == ["device"] * 5


def test_a_failing_job_fails_its_own_caller_only() -> None:
    async def scenario() -> None:
        worker = Worker(8)
        bad, good = await asyncio.gather(worker.run(lambda: 1 / 0), worker.run(lambda: 7), return_exceptions=True)
        assert isinstance(bad, ZeroDivisionError)
        assert not isinstance(good, BaseException)
        assert good.result == 7
        assert worker.alive
        worker.close()

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once_and_a_cancelled_wait_never_runs() -> None:
    async def scenario() -> None:
        worker, gate, ran = Worker(1), threading.Event(), []
        running = asyncio.create_task(worker.run(gate.wait))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(worker.run(lambda: ran.append("waiting")))
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull, match="1 requests are waiting") as raised:
            await worker.run(lambda: ran.append("refused"))
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
        accepted = [asyncio.create_task(worker.run(lambda: gate.wait(5))) for _ in range(3)]
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(asyncio.to_thread(worker.close))
        await asyncio.sleep(0.05)
        gate.set()
        assert [done.result for done in await asyncio.gather(*accepted)] == [True] * 3
        await closing
        assert not worker.alive
        with pytest.raises(Unavailable):
            await worker.run(lambda: None)

    asyncio.run(scenario())
