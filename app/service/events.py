"""A detection as server-sent events: `progress` (stage, done, total), then `result`, or `error` with the problem."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from app.errors import DeadlinePassed, WeakpointsError
from app.progress import Progress

log = logging.getLogger("weakpoints")
QUIET = 15.0  # seconds after which a comment keeps proxies from closing the connection
MEDIA_TYPE = "text/event-stream"


async def streamed(
    work: Callable[[Progress], Coroutine[Any, Any, str]],
    seconds: float,
    problem: Callable[[WeakpointsError], str],
    gone: Callable[[], None] = lambda: None,
) -> AsyncIterator[str]:
    """The events of `work`, whose `progress` may be called from any thread and whose result is the JSON of `result`.

    To be awaited once before an answer is begun: what refuses the work at once is raised, not streamed. Closing it early cancels the work, and calls `gone`.
    """
    loop, events = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def progress(stage: str, done: int, total: int) -> None:
        text = event("progress", json.dumps({"stage": stage, "done": done, "total": total}))
        loop.call_soon_threadsafe(events.put_nowait, text)

    job = asyncio.create_task(work(progress))
    job.add_done_callback(lambda _: events.put_nowait(None))
    await asyncio.sleep(0)  # the work is taken into the queue, or refused
    if job.done():
        job.result()
    return _events(job, events, loop.time() + seconds, problem, gone)


async def _events(
    job: asyncio.Task[str],
    events: asyncio.Queue[str | None],
    end: float,
    problem: Callable[[WeakpointsError], str],
    gone: Callable[[], None],
) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                text = await asyncio.wait_for(events.get(), max(0.0, min(QUIET, end - loop.time())))
            except TimeoutError:
                if loop.time() < end:
                    yield ": still waiting\n\n"
                    continue
                raise DeadlinePassed() from None
            if text is None:
                yield event("result", job.result())
                return
            yield text
    except (asyncio.CancelledError, GeneratorExit):
        gone()
        raise
    except WeakpointsError as error:
        yield event("error", problem(error))
    except Exception as error:
        log.error("a stream failed", exc_info=error)
        yield event("error", problem(WeakpointsError("something went wrong here; the log has it")))
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)


def event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
