"""A collection through Ray Data.

Tasks read and decode. Actors with a network each locate. The rows stream back here.
"""

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any

import numpy as np
import ray
from ray.data.exceptions import ExecutionTimeoutError, SystemException
from ray.exceptions import RayError

from app.batch.collection import PhotographReader
from app.batch.records import ResultRow
from app.batch.run import Engine, Locates, located
from app.cluster.reading import read_pixels
from app.cluster.start import Share
from weakpoints.errors import DeviceLost, WeakpointsError
from weakpoints.options import Limits, Options

ROWS_PER_BLOCK = (
    16  # photographs at most that travel together, and are done again when their node is lost
)
BLOCKS_PER_WORKER = 4  # blocks that each worker has at least, so that they end together


class Locate:
    """One network, as long as the actor lives.

    A photograph becomes the line of its row, or the reason why the run ends. That there is no
    network, or no device any more, is not raised: Ray would try again and hide what was said.
    """

    def __init__(self, load: Callable[[], Locates], options: Options) -> None:
        self.options, self.over = options, ""
        try:
            self.detector = load()
        except WeakpointsError as error:
            self.over = str(error)

    def __call__(self, item: dict[str, Any]) -> dict[str, str]:
        try:
            return {"line": "" if self.over else self._line(item), "over": self.over}
        except DeviceLost as error:
            return {"line": "", "over": str(error)}

    def _line(self, item: dict[str, Any]) -> str:
        if item["error"]:
            return ResultRow(file_name=item["file_name"], error=item["error"]).line
        shape = (item["height"], -1, item["bands"])
        image = np.frombuffer(item["pixels"], np.uint8).reshape(shape)
        return located(self.detector, item["file_name"], image, self.options)


def block_size(count: int, workers: int) -> int:
    return min(ROWS_PER_BLOCK, ceil(count / (BLOCKS_PER_WORKER * workers)))


def on_ray(
    load: Callable[[], Locates],
    share: Share,
    reader: PhotographReader,
    options: Options,
    limits: Limits,
) -> Engine:
    """`share.workers` actors on the cluster that this process is connected to.

    What a lost node had is done again elsewhere.
    """

    def lines(names: Sequence[str]) -> Iterator[str]:
        if not names:
            return
        blocks = ceil(len(names) / block_size(len(names), share.workers))
        workers = min(share.workers, blocks)
        items: Any = ray.data.from_items(
            [{"file_name": name} for name in names], override_num_blocks=blocks
        )
        # Of this data set alone. The batch has a bar of its own, and its log is the same bytes
        # whichever worker was quicker.
        items.context.enable_progress_bars = False
        items.context.execution_options.preserve_order = True
        # No core is asked for: reading mostly waits, and the actors may have taken them all.
        tasks = ray.data.TaskPoolStrategy(size=min(2 * workers, blocks))
        images = items.map(
            read_pixels,
            fn_kwargs={"reader": reader, "limits": limits, "background": options.background},
            compute=tasks,
            num_cpus=0,
        )
        actors = ray.data.ActorPoolStrategy(size=workers)
        rows = images.map(
            Locate, fn_constructor_args=(load, options), compute=actors, **share.resources
        )
        try:
            for row in rows.iter_rows():
                if row["over"]:
                    raise WeakpointsError(f"a worker gave up: {row['over']}; go on with --resume")
                yield row["line"]
        except (RayError, SystemException, ExecutionTimeoutError) as error:
            raise WeakpointsError(
                f"the cluster gave up: {str(error).strip().splitlines()[0]}; go on with --resume"
            ) from error

    return lines
