"""A typed client for the weakpoints service: `Client` blocks, `AsyncClient` is for asyncio."""

from weakpoints_client.answers import Refused
from weakpoints_client.arrays import Arrays
from weakpoints_client.async_client import AsyncClient
from weakpoints_client.calls import Progress
from weakpoints_client.client import Client
from weakpoints_client.models import (
    Detection,
    DetectOptions,
    HeatmapOptions,
    ImageSize,
    Keypoint,
    Landmark,
    LandmarkOptions,
    LandmarkSet,
    LandmarkSets,
    ModelCard,
    ModelInfo,
    NamedPoints,
    Prediction,
    ScoredClass,
)

__version__ = "0.6.0"
__all__ = [
    "Arrays",
    "AsyncClient",
    "Client",
    "DetectOptions",
    "Detection",
    "HeatmapOptions",
    "ImageSize",
    "Keypoint",
    "Landmark",
    "LandmarkOptions",
    "LandmarkSet",
    "LandmarkSets",
    "ModelCard",
    "ModelInfo",
    "NamedPoints",
    "Prediction",
    "Progress",
    "Refused",
    "ScoredClass",
]
