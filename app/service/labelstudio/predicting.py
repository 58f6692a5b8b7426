"""`/predict`: an entry for each task, in their order, before Label Studio gives up.

An entry without `result` is passed over there, and its task is asked for again the next time.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from app.schemas.queries import DetectQuery, LandmarksQuery, options_of
from app.service.answers import photograph_request, record_timing
from app.service.http.deadlines import Caller
from app.service.labelstudio.configuration import Configuration
from app.service.labelstudio.learning import finder_of
from app.service.labelstudio.regions import (
    brush_regions,
    drawn_boxes,
    named_regions,
    unnamed_regions,
)
from app.service.labelstudio.studio import LabelStudio
from app.service.lifecycle import Service
from app.service.named_answers import named_on
from weakpoints.errors import BadAnnotations, DeadlinePassed, QueueFull, WeakpointsError
from weakpoints.landmarks.named import NamedPoints

log = logging.getLogger("weakpoints")
PREDICT_SECONDS = 90.0  # Label Studio waits for 100
TIME_SHARE = 0.95  # of the time: the rest is for the answer itself
TASKS_AT_ONCE = 4  # tasks
MOST_TASKS = 100_000  # tasks of a request
QUEUE_FULL_PAUSE = 0.5  # seconds until a task that found the queue full is tried again
TaskEntry = dict[str, Any]


@dataclass(frozen=True)
class TaskPrediction:
    """One request. context: what was drawn just now, in interactive mode."""

    service: Service
    studio: LabelStudio
    configuration: Configuration
    number: str
    version: str
    context: Any
    caller: Caller

    async def entries(self, tasks: list[Any]) -> list[TaskEntry]:
        """Those that are not done in time say so. What is wrong with one is in its entry."""
        late = DeadlinePassed("there was no time for this task; retrieve predictions again for it")
        entries = [self._refused(late)] * len(tasks)
        with anyio.CancelScope(deadline=self.caller.end):
            try:
                finder = await self._again(self._finder)
            except WeakpointsError as error:
                return [self._refused(error)] * len(tasks)
            left = iter(enumerate(tasks))
            async with anyio.create_task_group() as group:
                for _ in range(TASKS_AT_ONCE):
                    group.start_soon(self._work, left, finder, entries)
        return entries

    async def _finder(self) -> NamedPoints | None:
        await self.studio.read_annotations(self.number, self.caller.seconds_left)
        return await finder_of(self.number, self.studio, self.configuration, self.caller)

    async def _work(
        self, left: Iterator[tuple[int, Any]], finder: NamedPoints | None, entries: list[TaskEntry]
    ) -> None:
        """One task after the other, of those that are left; others do the same."""
        for i, task in left:
            await checkpoint()  # others are answered, too, where all tasks are refused at once
            entries[i] = await self._one(task, finder)

    async def _one(self, task: Any, finder: NamedPoints | None) -> TaskEntry:
        try:
            entry: TaskEntry = await self._again(lambda: self._entry(task, finder))
            return entry
        except WeakpointsError as error:
            self.service.metrics.failed(error)
            return self._refused(error)
        except Exception as error:
            log.error("a task of Label Studio's failed", exc_info=error)
            return self._refused(WeakpointsError("something went wrong here; the log has it"))

    async def _again(self, work: Any) -> Any:
        """What the queue has no room for is tried until the time is over."""
        while True:
            try:
                return await work()
            except QueueFull:
                await anyio.sleep(QUEUE_FULL_PAUSE)

    async def _entry(self, task: Any, finder: NamedPoints | None) -> TaskEntry:
        """Raises WeakpointsError."""
        about = task if isinstance(task, dict) else {}
        data = about.get("data")
        address = data.get(self.configuration.data) if isinstance(data, Mapping) else None
        boxes, regions = drawn_boxes(self.context), list[TaskEntry]()
        if finder is None:
            self._check_unnamed()
        with self.service.pipeline.place(self.caller.name) as place:
            upload = await self.studio.photograph(address, about.get("id"), place)
            with upload as photograph:
                if finder is not None:
                    regions += await self._named(photograph, finder, boxes)
                if finder is None or self.configuration.brushes:
                    regions += await self._unnamed(photograph, boxes, finder is None)
        scores = [region["score"] for region in regions if "score" in region]
        score = round(sum(scores) / len(scores), 6) if scores else 0.0
        return {"model_version": self.version, "score": score, "result": regions}

    async def _named(
        self, photograph: bytes, finder: NamedPoints, boxes: list[Any]
    ) -> list[TaskEntry]:
        limit = self.service.settings.max_objects
        roi = [_roi_text(box) for box in boxes[:limit]] or None
        query = LandmarksQuery(roi=roi)
        request = photograph_request(self.caller, photograph, query.options())
        found = await named_on(self.service, finder, request, query.objects())
        record_timing(self.service, request.clock)
        return named_regions(found, finder.pattern.category, self.configuration, not boxes)

    async def _unnamed(self, photograph: bytes, boxes: list[Any], points: bool) -> list[TaskEntry]:
        """points: whether more than the map is wanted."""
        given = {"roi": _roi_text(boxes[-1])} if boxes else {}
        pipeline, query = self.service.pipeline, options_of(given, DetectQuery)
        request = photograph_request(self.caller, photograph, query.options())
        with ExitStack() as reserved:
            received = await pipeline.receive(request, reserved)
            localization, _ = await pipeline.locate(received)
        record_timing(self.service, request.clock)
        regions = list[TaskEntry]()
        if points:
            regions = unnamed_regions(localization, self.configuration, not boxes)
        return regions + await pipeline.on_thread(
            self.caller.name, lambda progress: list(brush_regions(localization, self.configuration))
        )

    def _check_unnamed(self) -> None:
        """Raises BadAnnotations where nothing is known that could be answered."""
        configuration = self.configuration
        if configuration.points and not configuration.takes_unnamed and not configuration.brushes:
            raise BadAnnotations(
                "no task of this project is annotated yet, and none of its keypoint labels is for "
                "points without a name, such as `keypoint`: annotate one, then retrieve "
                "predictions"
            )

    def _refused(self, error: WeakpointsError) -> TaskEntry:
        """In interactive mode nothing is kept, and an entry is read without a look at it."""
        shown = {"result": [], "score": 0.0} if self.context else {}
        return {"error": error.detail, "model_version": self.version, **shown}


def _roi_text(box: tuple[int, int, int, int]) -> str:
    return ",".join(map(str, box))
