"""weakpoints: keypoints of the main object in a photograph.

They come from a network that only ever saw class labels. `from app import Weakpoints` is the Python
API.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.api import Weakpoints

__version__ = "0.6.0"
__all__ = ["Weakpoints"]


def __getattr__(name: str) -> object:
    """`Weakpoints` brings PyTorch. It is imported when it is asked for: `import app` is light."""
    if name == "Weakpoints":
        from app.api import Weakpoints

        return Weakpoints
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
