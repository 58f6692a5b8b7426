"""The method: from a photograph to its keypoints. `Detector.locate` is the whole of it.

It is the method of the seed paper (its section III): weakly supervised keypoint detection by
occlusion and guided backpropagation, combined in a multiscale framework.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.engine.engine import Incremental
from weakpoints.errors import BadOption, DeviceLost, OutOfMemory
from weakpoints.images.decode import decode, split
from weakpoints.method.close_up import close_up
from weakpoints.method.contrast import fine_maps
from weakpoints.method.frame import Frame, InputSpec, frame_of, network_input, normalised
from weakpoints.method.fusion import fuse
from weakpoints.method.localization import ClassScore, Explained, Localization, Maps, Model
from weakpoints.method.occlusion import (
    Occlusion,
    box_count,
    boxes,
    check_finite,
    occluded_logits,
    occlusion_map,
    random_colours,
)
from weakpoints.method.peaks import Scene, find_peaks, keypoints
from weakpoints.method.rarity import log_rarity
from weakpoints.method.stages import Evidence, NetworkPass, Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.method.suppression import sigma_of
from weakpoints.networks.network import Network, Trace
from weakpoints.networks.precision import arithmetic
from weakpoints.options import (
    MAX_PASSES,
    Limits,
    NetworkDefaults,
    Options,
    ResolvedOptions,
    resolve,
)
from weakpoints.progress import Progress, no_progress


@dataclass(frozen=True)
class Detector:
    """A network and its labels. The same call gives the same answer.

    On a CPU any number of threads may share it. On a GPU one thread at a time may call `locate`,
    `forward_backward`, `occlude` or `classify`: precision is a switch of the whole process there.
    """

    occluder: Incremental
    model: Model
    input: InputSpec
    max_passes: int = MAX_PASSES

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
        prepared = self.prepare(image, options, Stopwatch())
        (seen,) = self.forward_backward([prepared])
        evidence = self.occlude(prepared, seen, progress)
        return self.explain(prepared, evidence)

    def prepare(
        self, image: NDArray[np.uint8], given: Options, clock: Stopwatch, maps: bool = True
    ) -> Prepared:
        """A photograph from `decode`, made small, on any thread. Raises BadOption.

        maps: whether they are wanted, or the network's classes alone.
        """
        options = self.resolved(given)
        image, seen = split(image)  # (H, W, 3) RGB; which of its pixels can be seen
        height, width, _ = image.shape
        frame = frame_of(width, height, self.input.side, options.fit, options.roi)
        near = frame.near(image)  # (h, w, 3): the last time that every pixel is read
        x = torch.from_numpy(normalised(near, frame, self.input))  # (1, 3, S, S)
        scene = fills = None
        if maps:
            scene = Scene(close_up(image, near, frame), frame, options, seen)  # for corners
            # Colours of a large photograph come from its small form: a digest of it is quick.
            halved = near.shape[:2] != frame.box[:1:-1]
            fills = self._fills(near if halved else image, options)  # (R, places, 3) colours
        clock.lap("prepare")
        return Prepared(x, frame, options, clock, fills, scene)

    def forward_backward(self, waiting: Sequence[Prepared]) -> list[NetworkPass]:
        """One forward and one backward pass for all that wait. Raises as `locate` does."""
        with self.device():
            traces = self.network.trace(torch.cat([prepared.x for prepared in waiting]))
            alone = [traces.of([i]) for i in range(len(waiting))]
            targets = [
                (prepared.options.targets or (trace.predicted,)) if prepared.scene else ()
                for trace, prepared in zip(alone, waiting, strict=True)
            ]
            _lap_all(waiting, "trace")
            fine = self._fine_maps(waiting, traces, targets)
            _lap_all(waiting, "guided")
        return [NetworkPass(*parts) for parts in zip(alone, targets, fine, strict=True)]

    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        """The class scores with a box at each position, on the device. Raises as `locate` does."""
        trace, options, coarse, rarity = seen.trace, prepared.options, list[Occlusion](), None
        with self.device():
            check_finite(trace.logits, self.occluder)
            if prepared.fills is not None:
                fills = prepared.fills.to(trace.x)
                logits = occluded_logits(self.occluder, trace, fills, options, progress)
                coarse = [occlusion_map(trace, logits, c, options) for c in seen.targets]
                if options.combine == "corners":  # the paper's does not ask for it
                    rarity = log_rarity(self.network, trace, prepared.frame.inside)
                prepared.clock.lap("occlusion")
            top = self.class_scores(trace, trace.ranking[: options.top_classes])
            targets = self.class_scores(trace, seen.targets)
            wanted = tuple(trace.activations[i][0].float().cpu() for i in prepared.layers)
        return Evidence(top, targets, seen.fine, tuple(coarse), rarity, wanted)

    def explain(
        self, prepared: Prepared, evidence: Evidence, progress: Progress = no_progress
    ) -> Localization:
        """From the maps to keypoints, class by class, on any thread."""
        options, frame, scene, explained = prepared.options, prepared.frame, prepared.scene, []
        if scene is None:
            raise ValueError("the photograph was prepared for its classes alone")
        for i, (target, coarse) in enumerate(zip(evidence.targets, evidence.coarse, strict=True)):
            progress("keypoints", i, len(evidence.targets))
            fine = evidence.fine[i]  # (S, S), which pixels; coarse.map: which patches
            score = self.fused(coarse.map, fine, frame, options)  # (S, S) log-likelihood <= 0
            maps = Maps(score, coarse.map, fine)
            sigma = sigma_of(fine, frame, options.combine)
            peaks = find_peaks(scene, score, sigma, evidence.rarity)
            points = keypoints(scene, maps, coarse.map_error, peaks, target.class_id)
            drops, errors = coarse.drops.ravel(), coarse.error.ravel()
            explained.append(
                Explained(target.class_id, maps, drops, errors, coarse.evident, points)
            )
        prepared.clock.lap("keypoints")
        classes = tuple(target.class_id for target in evidence.targets)
        return Localization(
            width=frame.width,
            height=frame.height,
            target=evidence.targets[0],
            top=evidence.top,
            explained=tuple(explained),
            boxes=boxes(self.input.side, options),
            options=replace(options, target_class=classes[0] if len(classes) == 1 else classes),
            frame=frame,
            timing_ms=prepared.clock.timing_ms,
        )

    def classify(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(C,) class probabilities of a photograph from `decode`, squashed into the input."""
        x, _ = network_input(split(image)[0], self.input, "squash", None)
        logits = self.network.trace(torch.from_numpy(x)).logits
        return np.asarray(logits[0].double().softmax(0).cpu())

    @property
    def network(self) -> Network:
        """The network, a table of layers."""
        return self.occluder.network

    def fused(
        self,
        coarse: NDArray[np.float64],
        fine: NDArray[np.float64],
        frame: Frame,
        options: ResolvedOptions,
    ) -> NDArray[np.float64]:
        """(S, S) of two maps (S, S), with the network's own share of the fine one; see `fuse`."""
        own = self.input.defaults or NetworkDefaults
        weight, combine = options.weight, options.combine
        return fuse(
            coarse, fine, frame.inside, weight=weight, combine=combine, fine_share=own.fine_share
        )

    def memory(self) -> int:
        """Bytes that the device has given out; 0 on a CPU."""
        return torch.cuda.memory_allocated() if self.model.device.startswith("cuda") else 0

    @contextmanager
    def device(self) -> Iterator[None]:
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
        self, pictures: Sequence[Prepared], traces: Trace, targets: Sequence[tuple[int, ...]]
    ) -> list[NDArray[np.float64]]:
        """(T, S, S) of each picture: one backward pass for all that asked for the same rule."""
        wanted = [(i, target) for i, classes in enumerate(targets) for target in classes]
        rules = [pictures[i].options.fine for i, _ in wanted]
        maps = np.empty((len(wanted), self.input.side, self.input.side))
        for rule in set(rules):
            chosen = [n for n in range(len(wanted)) if rules[n] == rule]
            of, classes = zip(*(wanted[n] for n in chosen), strict=True)
            maps[chosen] = fine_maps(self.network, traces, classes, rule=rule, pictures=of)
        return np.split(maps, np.cumsum([len(classes) for classes in targets])[:-1])

    def resolved(self, given: Options) -> ResolvedOptions:
        """Raises BadOption, also for more forward passes than are allowed."""
        options = self._resolved(given)
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

    def expensive(self, options: ResolvedOptions) -> bool:
        """Whether the occlusion costs more than the default's: more boxes, or larger windows."""
        return self.cost(options) > self.cost(self._resolved(Options()))

    def _resolved(self, given: Options) -> ResolvedOptions:
        return resolve(given, self.input.side, self.model.labels, self.input.defaults)

    def _passes(self, options: ResolvedOptions) -> int:
        return box_count(self.input.side, options) * options.colours

    def cost(self, options: ResolvedOptions) -> int:
        """How much dearer one occlusion is than another: in proportion to its time on a CPU."""
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


def _lap_all(waiting: Sequence[Prepared], stage: str) -> None:
    for prepared in waiting:
        prepared.clock.lap(stage)
