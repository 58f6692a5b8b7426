"""How long each stage of one request takes: the one place where time is taken."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lap:
    """One stage, from `start` to `end`: seconds of `time.perf_counter`."""

    stage: str
    start: float
    end: float


@dataclass
class Stopwatch:
    """Travels with a request through all threads that work for it, one after the other."""

    start: float = field(default_factory=time.perf_counter)
    laps: list[Lap] = field(default_factory=list)

    def lap(self, stage: str) -> None:
        """Ends a stage: it began where the last one ended."""
        begun = self.laps[-1].end if self.laps else self.start
        self.laps.append(Lap(stage, begun, time.perf_counter()))

    @property
    def timing_ms(self) -> dict[str, float]:
        """Milliseconds of each stage; those of a stage that came twice are added."""
        timing: dict[str, float] = {}
        for lap in self.laps:
            timing[lap.stage] = timing.get(lap.stage, 0.0) + (lap.end - lap.start) * 1000
        return timing

    @property
    def total_ms(self) -> float:
        """Milliseconds since the start."""
        return (time.perf_counter() - self.start) * 1000
