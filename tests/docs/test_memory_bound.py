"""Memory under load: what README and the operations page say is at most taken."""

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path

import httpx2
from PIL import Image

from app.settings import Settings
from benchmarks.load import sleeping_service
from benchmarks.memory import memory_of_processes
from docs import memory_bound
from tests.service import encoded
from weakpoints.engine.engine import BUDGET

CALLERS, SIDE = 64, 1000


def test_64_callers_of_the_largest_pictures_take_no_more_memory_than_is_said() -> None:
    settings = Settings(
        network="bundled",
        max_pixels=SIDE * SIDE,
        queue_pixels=2 * SIDE * SIDE,
        queue_size=CALLERS,
        uploads=2 * CALLERS,
        max_bytes=2**16,
        cache_bytes=0,
    )
    body, statuses = encoded(Image.new("L", (SIDE, SIDE), 90)), Counter[int]()
    ended = threading.Event()

    def call(number: int) -> None:
        transport = httpx2.HTTPTransport(local_address=f"127.0.3.{1 + number}")
        with httpx2.Client(transport=transport, timeout=120) as client:
            statuses[client.post(f"http://127.0.0.1:{port}/detect", content=body).status_code] += 1

    def highest(pid: int) -> int:
        looks = [memory_of_processes([pid])]
        while not ended.wait(0.1):
            looks.append(memory_of_processes([pid]))
        return max(looks)

    with sleeping_service(settings, 0.4) as (port, pid), ThreadPoolExecutor(CALLERS + 1) as pool:
        before = memory_of_processes([pid])
        watched = pool.submit(highest, pid)
        list(pool.map(call, range(CALLERS)))
        ended.set()
        assert statuses[200] + statuses[429] == CALLERS
    most = memory_bound.most_memory(settings) - memory_bound.children(settings)
    assert watched.result() - before < most, (watched.result() - before, most)


def test_readme_says_what_the_default_settings_take_at_most() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (told,) = re.findall(r"whatever is sent: (\d+) GiB", readme)
    most = memory_bound.most_memory(Settings()) + memory_bound.OCCLUSIONS * BUDGET["cpu"]
    assert int(told) == ceil(most / 2**30)
