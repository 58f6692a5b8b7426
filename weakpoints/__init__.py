"""weakpoints: keypoints of the main object in a photograph.

They come from a network that only ever saw class labels. `__all__` is the public API; modules whose
names are not in it may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weakpoints.api import Found, Weakpoints
    from weakpoints.errors import (
        BadAnnotations,
        BadImage,
        BadLandmarkSet,
        BadOption,
        WeakpointsError,
        WeightsError,
    )
    from weakpoints.landmarks.landmark_set import LandmarkSet
    from weakpoints.networks.graph.adding import export
    from weakpoints.options import Limits

__version__ = "0.6.0"
__all__ = [
    "BadAnnotations",
    "BadImage",
    "BadLandmarkSet",
    "BadOption",
    "Found",
    "LandmarkSet",
    "Limits",
    "Weakpoints",
    "WeakpointsError",
    "WeightsError",
    "__version__",
    "export",
]
MODULES = {
    "Found": "api",
    "LandmarkSet": "landmarks.landmark_set",
    "Limits": "options",
    "Weakpoints": "api",
    "export": "networks.graph.adding",
}


def __getattr__(name: str) -> object:
    """Imported when asked for: `Weakpoints` brings PyTorch, and `import weakpoints` is light."""
    if name in __all__:
        if MODULES.get(name) == "api":
            import_module("weakpoints.platforms").check_platform()
        return getattr(import_module(f"weakpoints.{MODULES.get(name, 'errors')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
