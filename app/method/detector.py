"""The method, one line a stage: from a photograph to its keypoints."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.errors import BadOption, DeviceLost, OutOfMemory
from app.incremental.engine import Heed, Incremental
from app.method.fusion import fuse
from app.method.guided import guided_maps
from app.method.image import Frame, InputSpec, decode, prepare
from app.method.localization import ClassScore, Localization, Maps, Model
from app.method.occlusion import occlusion_map, positions, random_colours
from app.method.peaks import find_peaks, keypoints
from app.networks.network import Network, Trace
from app.networks.precision import arithmetic
from app.options import Fine, Limits, Options, choose, resolve

Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """The Progress of who does not want to know."""


class Stopwatch:
    """Milliseconds a stage, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = (now - self._last) * 1000
        self._last = now


@dataclass(frozen=True)
class Prepared:
    """A photograph for the device: x (1, 3, S, S) normalised, fills (R, places, 3) normalised colours, options all settled."""

    image: NDArray[np.uint8]
    options: Options
    target: int | None
    x: Tensor
    frame: Frame
    fills: Tensor
    laps: Mapping[str, float]


@dataclass(frozen=True)
class Seen:
    """What the network made of it: the trace of this picture alone, the class to explain, the fine map (S, S)."""

    prepared: Prepared
    trace: Trace
    target: int
    fine: NDArray[np.float64]
    laps: Mapping[str, float]


@dataclass(frozen=True)
class Detector:
    """A network and its labels. Stateless: any number of threads may share it, and the same call gives the same answer."""

    occluder: Incremental
    model: Model
    input: InputSpec
    max_passes: int = 20_000

    @property
    def network(self) -> Network:
        return self.occluder.network

    def memory(self) -> int:
        """Bytes that the device has given out; 0 on a CPU."""
        return torch.cuda.memory_allocated() if self.model.device.startswith("cuda") else 0

    def __call__(self, data: bytes, options: Options, limits: Limits) -> Localization:
        """The bytes of a JPEG, PNG or WebP to its keypoints. Raises WeakpointsError."""
        return self.locate(decode(data, limits), options)

    def classify(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(C,) class probabilities of an (H, W, 3) RGB photograph, squashed into the network's input."""
        x, _ = prepare(image, self.input, "squash", None)
        return np.asarray(
            self.network.trace(torch.from_numpy(x)).logits[0].double().softmax(0).cpu()
        )

    def locate(
        self, image: NDArray[np.uint8], options: Options, progress: Progress = silent
    ) -> Localization:
        """An (H, W, 3) RGB photograph to its keypoints. Raises BadOption for options that do not fit it.

        `progress` is told how many boxes of the occlusion are done and of how many; what it raises stops the work.
        Raises OutOfMemory where the device has too little for a single box, DeviceLost where it fails.
        """
        (seen,) = self.look([self.prepare(image, options)])
        return self.finish(seen, progress)

    def prepare(self, image: NDArray[np.uint8], options: Options) -> Prepared:
        """What can be done without the device, and refused: raises BadOption."""
        clock, options = Stopwatch(), self._resolve(options)
        x, frame = prepare(
            image, self.input, options.fit, options.roi
        )  # (1, 3, S, S) normalised, and the way back
        fills = self._fills(image, options)  # (R, places, 3) normalised colours
        clock.lap("prepare")
        return Prepared(
            image,
            options,
            self._target(options.target_class),
            torch.from_numpy(x),
            frame,
            fills,
            clock.laps,
        )

    def look(self, prepared: Sequence[Prepared]) -> list[Seen]:
        """One forward and one backward pass for all of them."""
        with self._device():
            clock = Stopwatch()
            traces = self.network.trace(
                torch.cat([each.x for each in prepared])
            )  # every activation, computed once
            each_trace = [traces.of([i]) for i in range(len(prepared))]
            targets = [
                trace.predicted if each.target is None else each.target
                for trace, each in zip(each_trace, prepared, strict=True)
            ]
            clock.lap("trace")
            fine = self._fine(
                traces, targets, [each.options.fine for each in prepared]
            )  # (N, S, S) which pixels
            clock.lap("guided")
        return [
            Seen(*each, {**each[0].laps, **clock.laps})
            for each in zip(prepared, each_trace, targets, fine, strict=True)
        ]

    def finish(self, seen: Seen, progress: Progress = silent) -> Localization:
        """See `locate`."""
        with self._device():
            return self._finish(seen, progress)

    def _finish(self, seen: Seen, progress: Progress) -> Localization:
        image, options, frame = seen.prepared.image, seen.prepared.options, seen.prepared.frame
        clock = Stopwatch()
        coarse = occlusion_map(  # (S, S) which patches
            self.occluder,
            seen.trace,
            seen.target,
            seen.prepared.fills.to(seen.trace.x),
            box=options.box,
            step=options.step,
            score=options.score,
            heed=self._counted(options, progress),
        )
        clock.lap("occlusion")
        score = fuse(
            coarse.map, seen.fine, frame.inside, weight=options.weight, combine=options.combine
        )  # (S, S) log-likelihood
        peaks = find_peaks(
            image, frame, score, options
        )  # (N, 2) pixels of the photograph, and their log-likelihoods
        maps, logits = Maps(score, coarse.map, seen.fine), seen.trace.logits
        points = keypoints(image, frame, maps, peaks)  # sub-pixel
        clock.lap("keypoints")
        return Localization(
            width=image.shape[1],
            height=image.shape[0],
            target=self._class_scores(logits, [seen.target])[0],
            top=self._class_scores(
                logits,
                logits[0].argsort(descending=True, stable=True)[: options.top_classes].tolist(),
            ),
            keypoints=points,
            low_evidence=not coarse.evident,
            options=replace(options, target_class=seen.target),
            maps=maps,
            frame=frame,
            timing_ms=MappingProxyType({**seen.laps, **clock.laps}),
        )

    @contextmanager
    def _device(self) -> Iterator[None]:
        """Its arithmetic, and its failures in our own words."""
        try:
            with arithmetic(self.model.device, self.model.precision):
                yield
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                "the device has too little memory for this request now", retry_after=5
            ) from error
        except torch.AcceleratorError as error:
            raise DeviceLost("the device failed; the service restarts", retry_after=30) from error

    def _fine(self, traces: Trace, targets: list[int], rules: list[Fine]) -> NDArray[np.float64]:
        """(N, S, S): pictures of one rule together."""
        found = np.empty((len(rules), self.input.side, self.input.side))
        for rule in set(rules):
            chosen = [i for i, each in enumerate(rules) if each == rule]
            found[chosen] = guided_maps(
                self.network, traces.of(chosen), [targets[i] for i in chosen], rule=rule
            )
        return found

    def rehearsal(self) -> Prepared:
        """What warms the device up: on a GPU a default detection, whose shapes are tuned and recorded thereby, on a CPU the least there is."""
        options = (
            choose()
            if self.model.device.startswith("cuda")
            else choose(patch=self.model.side, stride=1, colours=1)
        )
        return self.prepare(np.zeros((64, 64, 3), np.uint8), options)

    def _counted(self, options: Options, progress: Progress) -> Heed:
        total, done = self._boxes(options), 0

        def heed(boxes: int) -> None:
            nonlocal done
            done += boxes
            progress(done, total)

        return heed

    def _boxes(self, options: Options) -> int:
        return len(positions(self.input.side, options.box, options.step)) ** 2 * options.colours

    def _resolve(self, options: Options) -> Options:
        """Every option a number, and no more forward passes than allowed."""
        options = resolve(options, self.input.side)
        passes = self._boxes(options)
        if passes > self.max_passes:
            raise BadOption(
                f"patch, stride and colours ask for {passes} forward passes; at most {self.max_passes} are allowed",
                option="stride",
                limit=self.max_passes,
                actual=passes,
            )
        return options

    def _fills(self, image: NDArray[np.uint8], options: Options) -> Tensor:
        places = (
            len(positions(self.input.side, options.box, options.step)) ** 2
            if options.fill == "per_box"
            else 1
        )
        digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        colours = random_colours(digest, options.seed, options.colours, places)
        return torch.from_numpy((colours - self.input.mean) / self.input.std)

    def _target(self, wanted: int | str | None) -> int | None:
        """The index of the class that was named; none: the one to be predicted."""
        labels = self.model.labels
        if wanted is None:
            return None
        if isinstance(wanted, str):
            if wanted not in labels:
                raise BadOption(
                    f"target_class is {wanted!r}, which is none of the {len(labels)} labels",
                    option="target_class",
                    actual=wanted,
                )
            return labels.index(wanted)
        if not 0 <= wanted < len(labels):
            raise BadOption(
                f"target_class is {wanted}; classes go from 0 to {len(labels) - 1}",
                option="target_class",
                actual=wanted,
            )
        return wanted

    def _class_scores(self, logits: Tensor, classes: list[int]) -> tuple[ClassScore, ...]:
        probabilities = logits[0].double().softmax(0)
        return tuple(ClassScore(c, self.model.labels[c], float(probabilities[c])) for c in classes)
