import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from app.service.scheduling.slots import DecodeSlots


@asynccontextmanager
async def one(slots: DecodeSlots, caller: str, large: bool = False) -> AsyncIterator[None]:
    slot = await slots.take(caller, large)
    try:
        yield
    finally:
        slots.give_back(slot)


def test_slots_are_bounded_and_callers_take_turns() -> None:
    async def scenario() -> list[str]:
        slots, order, running = DecodeSlots(1), list[str](), 0

        async def work(caller: str) -> None:
            nonlocal running
            async with one(slots, caller):
                running += 1
                assert running == 1
                order.append(caller)
                await anyio.sleep(0.01)
                running -= 1

        async with anyio.create_task_group() as group:
            for caller in ("a", "a", "a", "X"):
                group.start_soon(work, caller)
        return order

    assert asyncio.run(scenario()) == ["a", "X", "a", "a"]


def test_large_work_leaves_a_slot_to_small_work_and_has_the_only_one() -> None:
    async def begun(slots: DecodeSlots, *large: bool) -> list[bool]:
        order, end = list[bool](), anyio.Event()

        async def work(kind: bool) -> None:
            async with one(slots, "a", kind):
                order.append(kind)
                await end.wait()

        async with anyio.create_task_group() as group:
            for kind in large:
                group.start_soon(work, kind)
            await anyio.wait_all_tasks_blocked()
            now = [*order]
            end.set()
        assert sorted(order) == sorted(large)
        return now

    assert asyncio.run(begun(DecodeSlots(2), True, True, True, False, False)) == [True, False]
    assert asyncio.run(begun(DecodeSlots(2), False, False, True)) == [False, False]
    assert asyncio.run(begun(DecodeSlots(1), True, False)) == [True]


def test_who_is_cancelled_takes_no_slot_and_gives_back_what_it_was_given() -> None:
    async def scenario() -> None:
        slots, entered = DecodeSlots(1), anyio.Event()

        async def wait() -> None:
            async with one(slots, "b"):
                entered.set()

        async with anyio.create_task_group() as group:
            async with one(slots, "a"):
                waiting = asyncio.create_task(wait())
                await anyio.sleep(0)
                waiting.cancel()
                given = asyncio.create_task(wait())
                await anyio.sleep(0)
            given.cancel()  # its slot is free by now, and it has not been told
            group.start_soon(wait)
            with anyio.fail_after(10):
                await entered.wait()
        for each in (waiting, given):
            with pytest.raises(asyncio.CancelledError):
                await each

    asyncio.run(scenario())
