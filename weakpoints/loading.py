"""A network of the manifest, on a device, in a precision: ready to detect."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weakpoints.engine.engine import BUDGET, Incremental, takes_windows
from weakpoints.engine.paths import Paths, Tried
from weakpoints.engine.tiles.cuda_graphs import unrecorded
from weakpoints.engine.tiles.kernels import TRITON
from weakpoints.engine.trial import TrialBoxes, batching, trusted
from weakpoints.engine.windows.choice import chosen
from weakpoints.errors import WeightsError
from weakpoints.images.decode import decode
from weakpoints.method.detector import Detector
from weakpoints.method.frame import InputSpec, network_input
from weakpoints.method.localization import Model
from weakpoints.method.stages import Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.device import chosen_device, host_of
from weakpoints.networks.load import load_network
from weakpoints.networks.manifest import Entry, choose_network
from weakpoints.networks.network import Network, converted
from weakpoints.networks.precision import arithmetic, settled, windows
from weakpoints.options import MAX_PASSES, Limits, Precision, choose

log = logging.getLogger("weakpoints")
MOST_DOUBLED = 4  # times: 4 GiB, as on a GPU
PHOTOGRAPH = Path(__file__).with_name("trial.png")  # of Eileen Collins, by NASA: public domain


def load_detector(
    manifest: Path,
    name: str,
    device: str = "auto",
    max_passes: int = MAX_PASSES,
    memory: int | None = None,
    precision: Precision = "auto",
    downloads: Path | None = None,
) -> Detector:
    """The detector of a network in the manifest.

    device: `auto`, `cpu` or `cuda`, with an index if there are several. memory: bytes that the
    occlusion may take, beside the network. Raises WeightsError where the network can't be loaded as
    described.
    """
    entry, reason = choose_network(manifest, name, downloads)
    device = chosen_device(device)
    network = load_network(entry, device)
    log.info("network %s from %s (%s)", entry.name, entry.path, reason)
    return detector_of(entry, network, reason, device, max_passes, memory, precision)


def detector_of(
    entry: Entry,
    network: Network,
    reason: str,
    device: str,
    max_passes: int = MAX_PASSES,
    memory: int | None = None,
    precision: Precision = "auto",
) -> Detector:
    """The detector of a network that is loaded. device: where its weights are."""
    precision = settled(precision, device)
    spec = InputSpec(entry.side, entry.mean, entry.std, entry.defaults)
    with arithmetic(device, precision):
        occluder, paths = _prepared(entry, network, memory, precision, spec)
    model = Model(
        entry.name,
        entry.architecture,
        entry.sha256,
        entry.labels,
        entry.side,
        precision if occluder.dtype == windows(precision) else "tf32",
        device,
        reason,
        paths,
        host_of(device),
        _digest(entry),
    )
    detector = Detector(occluder, model, spec, max_passes)
    return detector if device == "cpu" else _with_batching(detector)


def _digest(entry: Entry) -> str:
    """Of what an answer depends on beside the weights."""
    parts = (entry.architecture, entry.labels, entry.side, entry.mean, entry.std, entry.defaults)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _fastest(
    network: Network, memory: int | None, precision: Precision, spec: InputSpec
) -> tuple[Incremental, tuple[Tried, ...]]:
    """The engine; on a GPU, on the fast paths that answer rightly for a photograph of ours."""
    if network.like.device.type == "cpu":
        return _on_cpu(network, memory, windows(precision), spec)
    wanted = Paths(float16=precision == "float16", triton=TRITON, cuda_graphs=True)
    return _trusted(network, memory, wanted, _boxes(spec))


def _on_cpu(
    network: Network, memory: int | None, dtype: torch.dtype, spec: InputSpec
) -> tuple[Incremental, tuple[Tried, ...]]:
    """Windows or whole passes, as is quicker, where the network is for no other form."""
    if not takes_windows(network, dtype):
        return Incremental(network, memory, dtype), ()
    box = spec.defaults.patch if spec.defaults else max(1, spec.side // 14)
    cast = Network(converted(network.layers, dtype))
    form, tried = chosen(cast, memory or BUDGET["cpu"], spec.side, box)
    return Incremental(network, memory, dtype, form=form), (tried,)


def _trusted(
    network: Network, memory: int | None, wanted: Paths, boxes: TrialBoxes
) -> tuple[Incremental, tuple[Tried, ...]]:
    def build(paths: Paths) -> Incremental:
        return Incremental(
            network,
            memory,
            windows("float16" if paths.float16 else "float32"),
            None if paths.cuda_graphs else unrecorded(),
            triton=paths.triton,
        )

    return trusted(build, wanted, boxes)


def _with_batching(detector: Detector) -> Detector:
    """Its model says whether it may look at several pictures together, as tried on three."""
    photograph = decode(PHOTOGRAPH.read_bytes(), Limits())
    least = choose(patch=detector.model.side, stride=1, colours=1, target_class=0)
    waiting = [
        detector.prepare(np.ascontiguousarray(image), least, Stopwatch())
        for image in (photograph, photograph[:, ::-1], photograph[::-1])
    ]

    def passes(groups: Sequence[Sequence[Prepared]]) -> list[Tensor]:
        seen = [one for group in groups for one in detector.forward_backward(group)]
        return [part for one in seen for part in (one.trace.logits, torch.from_numpy(one.fine))]

    alone = [[prepared] for prepared in waiting]
    tried = batching(lambda: passes(alone), lambda: passes([waiting]))
    paths = (*detector.model.paths, tried)
    return replace(detector, model=replace(detector.model, paths=paths))


def _boxes(spec: InputSpec) -> TrialBoxes:
    """Boxes of one colour in corners of a photograph and near its middle."""
    x, _ = network_input(decode(PHOTOGRAPH.read_bytes(), Limits()), spec, "squash", None)
    side, patch = spec.side, max(1, spec.side // 14)
    far = side - patch
    corners = ((0, 0), (side // 3, side // 2), (far, 0), (far, far))
    colours = torch.tensor([[-1.0, 0.0, 1.0]]).repeat(len(corners), 1)
    return TrialBoxes(torch.from_numpy(x), corners, patch, colours)


def _prepared(
    entry: Entry, network: Network, memory: int | None, precision: Precision, spec: InputSpec
) -> tuple[Incremental, tuple[Tried, ...]]:
    """The engine, tried out. Raises WeightsError for what shapes alone do not show to be wrong."""
    for budget in _budgets(network, memory):
        try:
            occluder, paths = _fastest(network, budget, precision, spec)
            _try_out(occluder, entry)
            return occluder, paths
        except torch.OutOfMemoryError as error:
            needed = str(error)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise WeightsError(f"network {entry.name!r} can't be computed: {reason}") from error
    raise WeightsError(f"network {entry.name!r} does not fit into its memory: {needed}")


def _budgets(network: Network, memory: int | None) -> tuple[int | None, ...]:
    """In order. A CPU's default is doubled until it holds a box of a large network."""
    if memory or network.like.device.type != "cpu":
        return (memory,)
    return tuple(BUDGET["cpu"] << doubled for doubled in range(MOST_DOUBLED + 1))


def _try_out(occluder: Incremental, entry: Entry) -> None:
    """One box over the whole picture: too little memory or precision is found now, not later."""
    blank = occluder.network.trace(torch.zeros(1, 3, entry.side, entry.side))
    logits = occluder.logits(blank, ((0, 0),), entry.side, torch.zeros(1, 3).to(blank.x))
    if logits.isfinite().all():
        return
    advice = "" if occluder.dtype == torch.float32 else "; set WEAKPOINTS_PRECISION=float32"
    raise WeightsError(f"network {entry.name!r} exceeds the numbers of {occluder.dtype}{advice}")
