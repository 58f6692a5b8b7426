"""What a detector does before the first request, on a GPU that a CPU stands for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from weakpoints.method.detector import Detector
from weakpoints.method.rehearsal import rehearse
from weakpoints.method.stages import Evidence, NetworkPass, Prepared
from weakpoints.progress import Progress, no_progress


@dataclass(frozen=True)
class Watched(Detector):
    """Counts the pictures of each pass, and the boxes of each picture; `fails` may stop a pass."""

    fails: Callable[[int], object] = bool
    passes: list[int] = field(default_factory=list)
    boxes: list[int] = field(default_factory=list)

    def forward_backward(self, waiting: Sequence[Prepared]) -> list[NetworkPass]:
        self.passes.append(len(waiting))
        with self.device():
            self.fails(len(waiting))
        return super().forward_backward(waiting)

    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        def counted(stage: str, done: int, total: int) -> None:
            if done == total and stage == "occlusion":
                self.boxes.append(total)
            progress(stage, done, total)

        return super().occlude(prepared, seen, counted)


def on(device: str, detector: Detector, **more: Any) -> Watched:
    model = replace(detector.model, device=device)
    return Watched(detector.occluder, model, detector.input, **more)


def test_a_gpu_is_tuned_for_every_number_of_pictures_and_twice_for_the_default_boxes(
    detector: Detector,
) -> None:
    watched, told = on("cuda:0", detector), []
    assert rehearse(watched, 4, lambda *each: told.append(each)) == 4
    assert watched.passes == [1, 2, 3, 4]
    assert len(watched.boxes) == 2
    assert watched.boxes[0] == watched.boxes[1] > 1
    assert told[-3:] == [("rehearsal", n, 4) for n in (2, 3, 4)]


def test_more_pictures_than_memory_holds_are_not_looked_at_together(
    detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(count: int) -> None:
        if count > 2:
            raise torch.OutOfMemoryError("no room")

    watched = on("cuda", detector, fails=fails)
    assert rehearse(watched, 8) == 2
    assert watched.passes == [1, 2, 3]
    (record,) = caplog.records
    said = "the device's memory does not hold 3 pictures together: it looks at 2"
    assert record.getMessage() == said


def test_a_gpu_that_may_do_fewer_passes_than_the_default_starts(detector: Detector) -> None:
    watched = on("cuda", detector, max_passes=1)
    assert rehearse(watched, 1) == 1
    assert watched.boxes == [1, 1]


def test_a_cpu_has_nothing_to_tune(detector: Detector) -> None:
    watched = on("cpu", detector)
    assert rehearse(watched, 4) == 4
    assert (watched.passes, watched.boxes) == ([1], [1])
