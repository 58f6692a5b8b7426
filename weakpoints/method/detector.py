"""The method: from a photograph to its keypoints. `Detector.method` is the whole of it.

It is the method of the seed paper (its section III): weakly supervised keypoint detection by
occlusion and guided backpropagation, combined in a multiscale framework.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.engine.engine import Incremental
from weakpoints.errors import BadOption, DeviceLost, OutOfMemory
from weakpoints.images.decode import decode, split
from weakpoints.method.contrast import fine_maps
from weakpoints.method.frame import InputSpec, prepare
from weakpoints.method.fusion import fuse
from weakpoints.method.localization import ClassScore, Explained, Localization, Maps, Model
from weakpoints.method.occlusion import (
    box_count,
    boxes,
    check_finite,
    occluded_logits,
    occlusion_map,
    random_colours,
)
from weakpoints.method.paused import Found, Look, Method, Paused, Picture, started
from weakpoints.method.peaks import Scene, find_peaks, keypoints
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.network import Network, Trace
from weakpoints.networks.precision import arithmetic
from weakpoints.options import MAX_PASSES, Limits, Options, ResolvedOptions, resolve
from weakpoints.progress import Progress, no_progress


@dataclass(frozen=True)
class Detector:
    """A network and its labels. The same call gives the same answer.

    On a CPU any number of threads may share it. On a GPU one thread at a time may call `locate`,
    `look`, `finish` or `classify`: precision is a switch of the whole process there.
    """

    occluder: Incremental
    model: Model
    input: InputSpec
    max_passes: int = MAX_PASSES

    def method(
        self, image: NDArray[np.uint8], asked: Options, clock: Stopwatch
    ) -> Method[Localization]:
        """The method, one line a stage, for one photograph from `decode`.

        It stops once, at `yield`, where the photograph waits for the device: pictures that wait
        there together share one forward and one backward pass (`look`).
        """
        options = self.resolved(asked)
        image, seen = split(image)  # (H, W, 3) RGB; which of its pixels can be seen
        x, frame = prepare(image, self.input, options.fit, options.roi)  # (1, 3, S, S), way back
        fills = self._fills(image, options)  # (R, places, 3) normalised colours
        clock.lap("prepare")
        look, progress = yield Picture(image, torch.from_numpy(x), options, clock)
        trace, targets, fine = look  # every activation; the classes; (T, S, S): which pixels
        occluded = occluded_logits(self.occluder, trace, fills.to(trace.x), options, progress)
        clock.lap("occlusion")
        scene, explained = Scene(image, frame, options, seen), []
        for target, which_pixels in zip(targets, fine, strict=True):
            coarse = occlusion_map(trace, occluded, target, options)  # (S, S): which patches
            score = fuse(
                coarse.map,
                which_pixels,
                frame.inside,
                weight=options.weight,
                combine=options.combine,
            )  # (S, S) log-likelihood <= 0
            peaks = find_peaks(scene, score)  # (N, 2) pixels of the photograph
            maps = Maps(score, coarse.map, which_pixels)
            points = keypoints(scene, maps, peaks, target)  # sub-pixel, with covariance
            explained.append(
                Explained(
                    target,
                    maps,
                    coarse.drops.ravel(),
                    coarse.error.ravel(),
                    coarse.evident,
                    points,
                )
            )
        clock.lap("keypoints")
        return Localization(
            width=frame.width,
            height=frame.height,
            target=self.class_scores(trace, targets[:1])[0],
            top=self.class_scores(trace, trace.ranking[: options.top_classes]),
            explained=tuple(explained),
            boxes=boxes(self.input.side, options),
            options=replace(
                options, target_class=targets[0] if len(targets) == 1 else tuple(targets)
            ),
            frame=frame,
            timing_ms=clock.timing_ms,
        )

    def recognition(
        self, image: NDArray[np.uint8], asked: Options, clock: Stopwatch
    ) -> Method[tuple[ClassScore, ...]]:
        """The likeliest classes of one photograph, and no more: a forward pass, no occlusion."""
        options = self.resolved(asked)
        photograph, _ = split(image)
        x, _ = prepare(photograph, self.input, options.fit, options.roi)
        clock.lap("prepare")
        look, _ = yield Picture(photograph, torch.from_numpy(x), options, clock, explained=False)
        check_finite(look.trace.logits, self.occluder)
        return self.class_scores(look.trace, look.trace.ranking[: options.top_classes])

    def __call__(self, data: bytes, options: Options, limits: Limits) -> Localization:
        """The keypoints of an image file. Raises WeakpointsError."""
        return self.locate(decode(data, limits, options.background), options)

    def locate(
        self, image: NDArray[np.uint8], options: Options, progress: Progress = no_progress
    ) -> Localization:
        """The keypoints of one photograph from `decode`, (H, W, 3) RGB, or (H, W, 4).

        `progress` is told how many boxes are done, and stops the work by raising. Raises BadOption
        for options that do not fit the photograph, OutOfMemory where the device has too little
        memory for a single box, DeviceLost where the device fails.
        """
        paused = self.start(image, options, Stopwatch())
        (look,) = self.look([paused])
        return self.finish(paused, look, progress)

    def start(
        self, image: NDArray[np.uint8], options: Options, clock: Stopwatch
    ) -> Paused[Localization]:
        """`method` up to the device, on any thread. Raises BadOption."""
        return started(self.method(image, options, clock))

    def look(self, waiting: Sequence[Paused[Any]]) -> list[Look]:
        """One forward and one backward pass for all that wait. Raises as `locate` does."""
        pictures = [each.picture for each in waiting]
        with self._device():
            traces = self.network.trace(torch.cat([picture.x for picture in pictures]))
            alone = [traces.of([i]) for i in range(len(pictures))]
            targets = [
                (picture.options.targets or (trace.predicted,)) if picture.explained else ()
                for trace, picture in zip(alone, pictures, strict=True)
            ]
            _lap_all(pictures, "trace")
            fine = self._fine_maps(pictures, traces, targets)
            _lap_all(pictures, "guided")
        return [Look(*each) for each in zip(alone, targets, fine, strict=True)]

    def finish(self, paused: Paused[Found], look: Look, progress: Progress = no_progress) -> Found:
        """Runs the rest of the method, on the device. Raises as `locate` does."""
        with self._device():
            return self._rest(paused, look, progress)

    def classify(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(C,) class probabilities of a photograph from `decode`, squashed into the input."""
        x, _ = prepare(split(image)[0], self.input, "squash", None)
        logits = self.network.trace(torch.from_numpy(x)).logits
        return np.asarray(logits[0].double().softmax(0).cpu())

    @property
    def network(self) -> Network:
        """The network, a table of layers."""
        return self.occluder.network

    def memory(self) -> int:
        """Bytes that the device has given out; 0 on a CPU."""
        return torch.cuda.memory_allocated() if self.model.device.startswith("cuda") else 0

    def _rest(self, paused: Paused[Found], look: Look, progress: Progress) -> Found:
        try:
            paused.method.send((look, progress))
        except StopIteration as end:  # how a generator returns
            found: Found = end.value
            return found
        raise RuntimeError("the method stopped a second time")

    @contextmanager
    def _device(self) -> Iterator[None]:
        """The device's arithmetic; its failures become errors of ours."""
        try:
            with arithmetic(self.model.device, self.model.precision):
                yield
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                "the device has too little memory for this request now", retry_after=5
            ) from error
        except torch.AcceleratorError as error:
            raise DeviceLost("the device failed; the service restarts", retry_after=30) from error

    def _fine_maps(
        self, pictures: Sequence[Picture], traces: Trace, targets: Sequence[tuple[int, ...]]
    ) -> list[NDArray[np.float64]]:
        """(T, S, S) of each picture: one backward pass for all that asked for the same rule."""
        asked = [(i, target) for i, classes in enumerate(targets) for target in classes]
        rules = [pictures[i].options.fine for i, _ in asked]
        maps = np.empty((len(asked), self.input.side, self.input.side))
        for rule in set(rules):
            chosen = [n for n in range(len(asked)) if rules[n] == rule]
            of, classes = zip(*(asked[n] for n in chosen), strict=True)
            maps[chosen] = fine_maps(self.network, traces, classes, rule=rule, pictures=of)
        return np.split(maps, np.cumsum([len(each) for each in targets])[:-1])

    def resolved(self, asked: Options) -> ResolvedOptions:
        """Raises BadOption, also for more forward passes than are allowed."""
        options = self._resolved(asked)
        passes = self._passes(options)
        if passes > self.max_passes:
            raise BadOption(
                f"patch, stride and colours ask for {passes} forward passes; "
                f"at most {self.max_passes} are allowed",
                option="stride",
                limit=self.max_passes,
                actual=passes,
            )
        return options

    def dear(self, options: ResolvedOptions) -> bool:
        """Whether the occlusion costs more than the default's: more boxes, or larger windows."""
        return self._price(options) > self._price(self._resolved(Options()))

    def _resolved(self, asked: Options) -> ResolvedOptions:
        return resolve(asked, self.input.side, self.model.labels, self.input.box)

    def _passes(self, options: ResolvedOptions) -> int:
        return box_count(self.input.side, options) * options.colours

    def _price(self, options: ResolvedOptions) -> int:
        return self._passes(options) * self.occluder.price(self.input.side, options.patch)

    def _fills(self, image: NDArray[np.uint8], options: ResolvedOptions) -> Tensor:
        """(R, places, 3) normalised: random by the pixels and the seed alone."""
        places = box_count(self.input.side, options) if options.fill == "per_box" else 1
        digest = hashlib.sha256(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image).data.cast("B"))  # others may run meanwhile
        colours = random_colours(digest.digest(), options.seed, options.colours, places)
        return torch.from_numpy((colours - self.input.mean) / self.input.std)

    def class_scores(self, trace: Trace, classes: Sequence[int]) -> tuple[ClassScore, ...]:
        """Some classes of a single picture with their probabilities."""
        probabilities = trace.logits[0].double().softmax(0)
        return tuple(ClassScore(c, self.model.labels[c], float(probabilities[c])) for c in classes)


def _lap_all(pictures: Sequence[Picture], stage: str) -> None:
    for picture in pictures:
        picture.clock.lap(stage)
