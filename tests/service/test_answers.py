"""From a request to what was found on its photographs."""

import asyncio
import tracemalloc
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

from app.service.answers import Delivery, detected
from app.service.intake.upload import Upload
from weakpoints.method.stopwatch import Stopwatch

FILE_BYTES = 4 * 2**20


class _Pipeline:
    """Decodes nothing; while it locates, it looks how much memory is held."""

    held = -1

    async def receive(self, photograph: Any, reserved: ExitStack, pixels: bool) -> Any:
        assert len(photograph.data) == FILE_BYTES
        return SimpleNamespace(image=None)

    async def locate(self, received: Any, progress: object) -> tuple[None, bool]:
        self.held, _ = tracemalloc.get_traced_memory()
        return None, False


def test_the_bytes_of_a_file_are_gone_while_its_photograph_waits_for_the_device() -> None:
    pipeline = _Pipeline()
    service = SimpleNamespace(pipeline=pipeline, metrics=SimpleNamespace(staged=lambda laps: None))
    app = SimpleNamespace(state=SimpleNamespace(service=service))
    request = SimpleNamespace(app=app, client=None, state=SimpleNamespace(), headers={})
    caller = SimpleNamespace(request=request, name="somebody", end=0.0)
    delivery = cast(Any, Delivery)(None, None, [], {}, caller, Stopwatch())
    upload = Upload("photo.jpg", FILE_BYTES, ExitStack())
    tracemalloc.start()
    try:
        upload.add(bytes(FILE_BYTES))
        asyncio.run(detected(delivery, upload, ExitStack()))
    finally:
        tracemalloc.stop()
    assert 0 <= pipeline.held < FILE_BYTES / 4
