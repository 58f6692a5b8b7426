"""A network of the manifest, on a device, in a precision: ready to detect."""

import logging
from pathlib import Path

import torch

from app.errors import WeightsError
from app.incremental.engine import Incremental
from app.method.detector import Detector
from app.method.image import InputSpec
from app.method.localization import Model
from app.networks.architectures import load_network
from app.networks.device import chosen_device
from app.networks.manifest import Entry, choose_network
from app.networks.precision import arithmetic, settled, windows
from app.options import Precision
from app.settings import Settings

log = logging.getLogger(__name__)


def loaded(settings: Settings) -> Detector:
    """The detector that the settings name. Raises WeightsError."""
    return load_detector(
        settings.manifest,
        settings.network,
        settings.device,
        settings.max_passes,
        settings.memory or None,
        settings.precision,
        settings.downloads,
    )


def load_detector(
    manifest: Path,
    name: str,
    device: str = "auto",
    max_passes: int = 20_000,
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
    precision = settled(precision, device)
    occluder = Incremental(load_network(entry, device), memory, windows(precision))
    with arithmetic(device, precision):
        _try_out(occluder, entry)
    model = Model(
        entry.name,
        entry.architecture,
        entry.sha256,
        entry.labels,
        entry.side,
        precision,
        device,
        reason,
    )
    box = None if entry.occluder is None else (entry.occluder.patch, entry.occluder.stride)
    spec = InputSpec(entry.side, entry.mean, entry.std, box)
    log.info("network %s (%s)", entry.name, reason)
    return Detector(occluder, model, spec, max_passes)


def _try_out(occluder: Incremental, entry: Entry) -> None:
    """One box over the whole picture: too little memory or precision is found now, not later."""
    try:
        blank = occluder.network.trace(torch.zeros(1, 3, entry.side, entry.side))
        logits = occluder.logits(blank, ((0, 0),), entry.side, torch.zeros(1, 3).to(blank.x))
    except torch.OutOfMemoryError as error:
        raise WeightsError(
            f"network {entry.name!r} does not fit into its memory: {error}"
        ) from error
    if not logits.isfinite().all():
        raise WeightsError(
            f"network {entry.name!r} exceeds the numbers of {occluder.dtype}; "
            "set WEAKPOINTS_PRECISION=float32"
        )
