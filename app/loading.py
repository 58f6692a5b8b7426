"""The detector that the settings name."""

from app.settings import Settings
from weakpoints.loading import load_detector
from weakpoints.method.detector import Detector

FEW = 4  # photographs: Numba's import, and the loops from its cache, take longer than they save


def loaded(settings: Settings, photographs: int | None = None) -> Detector:
    """photographs: how many there are, where that is known.

    Raises WeightsError where the network can't be loaded as described.
    """
    detector = load_detector(
        settings.manifest,
        settings.network,
        settings.device,
        settings.max_passes,
        settings.memory or None,
        settings.precision,
        settings.downloads,
    )
    if photographs is None or photographs > FEW:
        detector.occluder.compile()
    return detector
