"""The detector that the settings name."""

from app.settings import Settings
from weakpoints.loading import load_detector
from weakpoints.method.detector import Detector


def loaded(settings: Settings) -> Detector:
    """Raises WeightsError where the network can't be loaded as described."""
    return load_detector(
        settings.manifest,
        settings.network,
        settings.device,
        settings.max_passes,
        settings.memory or None,
        settings.precision,
        settings.downloads,
    )
