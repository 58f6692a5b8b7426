import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from app.service.scheduling.device_worker import Worker
from app.service.scheduling.forecast import Claim
from tests.service import Clock
from weakpoints.errors import DeviceLost, QueueFull, Unavailable
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.progress import Progress

Alive = Callable[[], None]
Work = Callable[[Alive], object]
T = TypeVar("T")


async def soon(true: Callable[[], object]) -> None:
    """Waits for what the device's thread does, however busy the machine."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


class Gate:
    """Work that has begun, and ends when it is let go."""

    def __init__(self) -> None:
        self.began, self.open = threading.Event(), threading.Event()

    def __call__(self, alive: Alive) -> bool:
        self.began.set()
        return self.open.wait(30)


def worker_of(queue_size: int, **settings: Any) -> Worker[Work, Work, object]:
    """Its jobs are functions, which are given their sign of life."""

    def finish(work: Work, seen: Work, progress: Progress) -> object:
        return work(lambda: progress("occlusion", 0, 1))

    return Worker(list, finish, queue_size, **settings)


def run(worker: Worker[Any, Any, T], asked: object) -> Coroutine[Any, Any, T]:
    return worker.run(asked, Stopwatch())


def test_jobs_run_one_after_the_other_in_one_thread() -> None:
    async def scenario() -> list[str]:
        worker = worker_of(8)
        done = await asyncio.gather(
            *(run(worker, lambda alive: threading.current_thread().name) for _ in range(5))
        )
        worker.close()
        return list(done)

    assert asyncio.run(scenario()) == ["device"] * 5


def test_a_failing_job_fails_its_own_caller_only() -> None:
    async def scenario() -> None:
        worker = worker_of(8)
        bad, good = await asyncio.gather(
            run(worker, lambda alive: 1 / 0), run(worker, lambda alive: 7), return_exceptions=True
        )
        assert isinstance(bad, ZeroDivisionError)
        assert good == 7
        assert worker.alive
        worker.close()

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once_and_a_cancelled_wait_never_runs() -> None:
    async def scenario() -> None:
        worker, gate, ran = worker_of(1), Gate(), []
        running = asyncio.create_task(run(worker, gate))
        await soon(gate.began.is_set)
        waiting = asyncio.create_task(run(worker, lambda alive: ran.append("waiting")))
        await soon(lambda: worker.waiting)
        with pytest.raises(QueueFull, match="1 requests are waiting") as raised:
            await run(worker, lambda alive: ran.append("refused"))
        assert raised.value.figures["retry_after"] >= 1  # type: ignore[operator]
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.open.set()
        await running
        worker.close()
        assert ran == []

    asyncio.run(scenario())


def test_closing_answers_what_was_accepted_and_refuses_what_comes_later() -> None:
    async def scenario() -> None:
        worker, gate = worker_of(4), Gate()
        accepted = [asyncio.create_task(run(worker, gate)) for _ in range(3)]
        await soon(lambda: gate.began.is_set() and worker.waiting == 2)
        closing = asyncio.create_task(asyncio.to_thread(worker.close))
        await soon(lambda: worker._closed)
        gate.open.set()
        assert await asyncio.gather(*accepted) == [True] * 3
        await closing
        assert not worker.alive
        with pytest.raises(Unavailable):
            await run(worker, lambda alive: None)

    asyncio.run(scenario())


def test_work_whose_caller_is_gone_stops_at_its_next_sign_of_life() -> None:
    async def scenario() -> None:
        worker, began, stopped = worker_of(4), threading.Event(), threading.Event()

        def endless(alive: Alive) -> None:
            began.set()
            try:
                while True:
                    alive()
                    time.sleep(0.001)
            finally:
                stopped.set()

        running = asyncio.create_task(run(worker, endless))
        await asyncio.to_thread(began.wait)
        running.cancel()
        assert await asyncio.to_thread(stopped.wait, 5)
        assert (await run(worker, lambda alive: 7)) == 7
        worker.close()

    asyncio.run(scenario())


def test_what_fails_or_is_given_up_is_kept_by_nobody_and_needs_no_collector() -> None:
    class Picture:
        def __init__(self, work: Work) -> None:
            self.work = work

        def __call__(self, alive: Alive) -> object:
            return self.work(alive)

    def fails(alive: Alive) -> object:
        raise QueueFull("no", limit=0, retry_after=1)

    async def scenario() -> None:
        worker, gate = worker_of(8), Gate()

        def until_gone(alive: Alive) -> None:
            while gate(alive):
                alive()

        failing, left = Picture(fails), Picture(until_gone)
        kept = [weakref.ref(failing), weakref.ref(left)]
        with pytest.raises(QueueFull):
            await run(worker, failing)
        task = asyncio.create_task(run(worker, left))
        await soon(gate.began.is_set)
        task.cancel()
        gate.open.set()
        with suppress(asyncio.CancelledError):
            await task
        del failing, left, task
        worker.close()
        await asyncio.sleep(0)  # the step that was woken by the task has it
        assert [each() for each in kept] == [None, None]

    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


def test_pictures_in_memory_are_bounded_by_their_pixels_but_one_is_always_taken() -> None:
    async def scenario() -> None:
        worker, gate = worker_of(9, max_pixels=100), Gate()
        with worker.holding(Claim(pixels=500)), pytest.raises(QueueFull, match="500 pixels"):
            worker.holding(Claim(pixels=1)).__enter__()
        running = asyncio.create_task(run(worker, gate))
        await soon(gate.began.is_set)
        large = Claim("large", 100)
        with worker.holding(large):
            waiting = asyncio.create_task(worker.run(lambda alive: 3, Stopwatch(), large))
            await soon(lambda: worker.waiting)
            with worker.holding(Claim("small", 1)), pytest.raises(QueueFull, match="holds most"):
                await waiting
        gate.open.set()
        await running
        worker.close()

    asyncio.run(scenario())


def test_a_lost_device_is_told_to_all_who_wait_and_stays_lost() -> None:
    async def scenario() -> None:
        gate, told = threading.Event(), []
        worker = worker_of(9, lost=lambda: told.append(1))

        def lose(alive: Alive) -> None:
            gate.wait(30)
            raise DeviceLost("gone", retry_after=1)

        tasks = [
            asyncio.create_task(run(worker, each))
            for each in (lose, lambda alive: 1, lambda alive: 2)
        ]
        await soon(lambda: worker.waiting == 2)
        gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, Unavailable) for each in answers)
        assert told == [1]
        assert not worker.alive
        with pytest.raises(Unavailable, match="lost"):
            await run(worker, lambda alive: None)
        worker.close()

    asyncio.run(scenario())


def test_a_job_without_a_sign_of_life_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr("app.service.scheduling.device_worker.STUCK", 0.05)
        worker, gate = worker_of(1), Gate()
        running = asyncio.create_task(run(worker, gate))
        await soon(lambda: not worker.alive)
        gate.open.set()
        await running
        await soon(lambda: worker.alive)
        worker.close()

    asyncio.run(scenario())


async def first_then_rest(
    worker: Worker[int, int, int], looks: list[list[int]], asked: Sequence[int]
) -> list[asyncio.Task[int]]:
    """The device is busy with the first when the rest comes."""
    tasks = [asyncio.create_task(run(worker, asked[0]))]
    while not looks:
        await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(run(worker, each)) for each in asked[1:]]
    while worker.waiting < len(asked) - 1:
        await asyncio.sleep(0.01)
    return tasks


def test_what_waits_is_looked_at_together_and_answered_in_turn() -> None:
    async def scenario() -> None:
        gate = threading.Event()
        looks: list[list[int]] = []
        batches: list[int] = []

        def look(asked: Sequence[int]) -> list[int]:
            looks.append(list(asked))
            gate.wait(30)
            return [10 * each for each in asked]

        worker: Worker[int, int, int] = Worker(
            look, lambda asked, seen, progress: seen + 1, 9, batch=3, batched=batches.append
        )
        tasks = await first_then_rest(worker, looks, range(6))
        gate.set()
        done = await asyncio.gather(*tasks)
        worker.close()
        assert done == [1, 11, 21, 31, 41, 51]
        assert looks == [[0], [1, 2, 3], [4, 5]]
        assert batches == [1, 3, 2]

    asyncio.run(scenario())


def test_a_bad_one_among_those_looked_at_together_hurts_itself_alone() -> None:
    async def scenario() -> None:
        gate, looks = threading.Event(), []

        def look(asked: Sequence[int]) -> list[int]:
            looks.append(list(asked))
            gate.wait(30)
            return [1 // each for each in asked]

        worker: Worker[int, int, int] = Worker(look, lambda asked, seen, progress: seen, 9, batch=4)
        tasks = await first_then_rest(worker, looks, (1, 1, 0, 1))
        gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        worker.close()
        assert looks[1] == [1, 0, 1]
        assert [type(each) for each in answers] == [int, int, ZeroDivisionError, int]

    asyncio.run(scenario())


def test_one_who_left_is_not_looked_at_and_those_beside_are_answered() -> None:
    async def scenario() -> None:
        gate, looks = threading.Event(), []

        def look(asked: Sequence[int]) -> Sequence[int]:
            looks.append(list(asked))
            gate.wait(30)
            return asked

        worker: Worker[int, int, int] = Worker(look, lambda asked, seen, progress: seen, 9, batch=4)
        tasks = await first_then_rest(worker, looks, range(4))
        tasks[2].cancel()
        await asyncio.wait([tasks[2]])
        gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        worker.close()
        assert looks == [[0], [1, 3]]
        assert isinstance(answers[2], asyncio.CancelledError)

    asyncio.run(scenario())


def test_a_dear_job_lets_others_pass_and_their_time_is_not_counted_as_its_own(
    clock: Clock,
) -> None:
    async def scenario() -> list[str]:
        worker, gate, ended = worker_of(8), Gate(), list[str]()

        def expensive(alive: Alive) -> None:
            gate(alive)
            clock.now += 0.1
            alive()
            ended.append("dear")

        def job(name: str, claim: Claim, work: Work) -> "asyncio.Task[object]":
            return asyncio.create_task(worker.run(work, Stopwatch(), claim), name=name)

        def noted(name: str) -> Work:
            def work(alive: Alive) -> None:
                alive()
                clock.now += 0.3
                ended.append(name)

            return work

        jobs = [job("dear", Claim("greedy", expensive=True), expensive)]
        await soon(gate.began.is_set)
        jobs.append(job("next dear", Claim("greedy", expensive=True), noted("next dear")))
        jobs.append(job("cheap", Claim("modest"), noted("cheap")))
        await soon(lambda: worker.waiting == 2)
        gate.open.set()
        await asyncio.gather(*jobs)
        assert worker._preempted_seconds == pytest.approx(0.3)
        assert worker.alive
        worker.close()
        return ended

    assert asyncio.run(scenario()) == ["cheap", "dear", "next dear"]


def test_a_job_that_fails_while_it_passes_hurts_itself_alone() -> None:
    async def scenario() -> list[object]:
        worker, gate = worker_of(8), Gate()

        def expensive(alive: Alive) -> str:
            gate(alive)
            alive()
            return "dear"

        greedy = asyncio.create_task(
            worker.run(expensive, Stopwatch(), Claim("greedy", expensive=True))
        )
        await soon(gate.began.is_set)
        bad = asyncio.create_task(worker.run(lambda alive: 1 / 0, Stopwatch(), Claim("modest")))
        await soon(lambda: worker.waiting)
        gate.open.set()
        found = await asyncio.gather(greedy, bad, return_exceptions=True)
        worker.close()
        return list(found)

    found = asyncio.run(scenario())
    assert found[0] == "dear"
    assert isinstance(found[1], ZeroDivisionError)


def test_the_clock_counts_each_wait_as_queue_and_progress_is_told_of_it_first() -> None:
    async def scenario() -> None:
        told: list[str] = []

        def finish(asked: int, seen: int, progress: Progress) -> int:
            progress("occlusion", 1, 1)
            return asked

        worker: Worker[int, int, int] = Worker(list, finish, 9)
        clock = Stopwatch()
        await worker.run(1, clock, Claim(), lambda stage, done, total: told.append(stage))
        worker.close()
        assert told == ["queue", "occlusion"]
        assert [lap.stage for lap in clock.laps] == ["queue"]

    asyncio.run(scenario())


def test_what_can_not_be_in_time_is_refused_at_once_or_when_it_has_become_late(
    clock: Clock,
) -> None:
    """Requests take half a second here. One more of who had less goes before one that waits."""

    def claim(caller: str, seconds: float = 60) -> Claim:
        return Claim(caller, cost=7, until=clock.now + seconds)

    async def scenario() -> None:
        worker, ran = worker_of(8), list[str]()

        def half_a_second(name: str) -> Work:
            def work(alive: Alive) -> None:
                clock.now += 0.5
                ran.append(name)

            return work

        await worker.run(half_a_second("measured"), Stopwatch(), claim("x"))
        gate = Gate()
        running = asyncio.create_task(worker.run(gate, Stopwatch(), claim("x")))
        await soon(gate.began.is_set)
        with pytest.raises(QueueFull, match="the answer is expected after") as raised:
            await worker.run(half_a_second("refused"), Stopwatch(), claim("a", 0.3))
        figures = {"limit": 0.3, "actual": 1.2, "retry_after": 1}  # 0.5 s, and at most 0.75
        assert raised.value.figures == pytest.approx(figures)
        with pytest.raises(QueueFull):
            worker.check_capacity(claim("a", 0.3))
        late = asyncio.create_task(worker.run(half_a_second("late"), Stopwatch(), claim("a", 2)))
        await soon(lambda: worker.waiting)
        clock.now += 1.6  # the one that runs takes longer than was expected
        gate.open.set()
        with pytest.raises(QueueFull, match="would come after its caller goes"):
            await late
        await running
        await worker.run(half_a_second("alone"), Stopwatch(), claim("a", 0.1))
        worker.close()
        assert ran == ["measured", "alone"]

    asyncio.run(scenario())
