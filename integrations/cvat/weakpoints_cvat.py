"""CVAT's auto-annotation function: `cvat-cli task auto-annotate ID --function-file` this file.

Parameters (`-p NAME=str:VALUE`): url and key of the service; landmarks, the name of one of its
landmark sets; label, of the task; shape: `skeleton` or `points`.

With `landmarks` the task's label is a skeleton with a point for each landmark, or, with
shape=points, there is a label of type points for each landmark. Without, all points have `label`.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cvat_sdk.auto_annotation as cvataa
import PIL.Image

from weakpoints_client import Client

HALF = 0.5  # pixels from the picture's corner to the centre of its first pixel


def create(
    url: str = "http://localhost:8000",
    key: str = "",
    landmarks: str = "",
    label: str = "",
    shape: str = "skeleton",
) -> "Function":
    client = Client(url, key or None)
    if not landmarks:
        return Unnamed(client, label or "keypoint")
    known = {card.name: card for card in client.landmark_sets().landmark_sets}
    if landmarks not in known:
        raise ValueError(f"the service has no landmark set {landmarks!r}; it has {sorted(known)}")
    names = [point.name for point in known[landmarks].landmarks]
    kind = {"skeleton": Skeletons, "points": NamedPoints}[shape]
    return kind(client, landmarks, label or known[landmarks].category, names)


class Function(ABC):
    """spec: the labels; detect: the shapes of one frame."""

    spec: cvataa.DetectionFunctionSpec

    @abstractmethod
    def detect(self, context: Any, image: PIL.Image.Image) -> Sequence[Any]: ...


class Unnamed(Function):
    """A shape for each keypoint, so that one can be deleted alone."""

    def __init__(self, client: Client, label: str) -> None:
        self._client = client
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(label, 0, type="points")]
        )

    def detect(self, context: Any, image: PIL.Image.Image) -> Sequence[Any]:
        found = self._client.detect(encoded(image))
        return [
            cvataa.shape(0, type="points", points=[point.x + HALF, point.y + HALF])
            for point in found.keypoints
            if point.confidence >= (context.conf_threshold or 0.0)
        ]


class Named(Function):
    def __init__(self, client: Client, landmarks: str, label: str, names: Sequence[str]) -> None:
        self._client, self._landmarks = client, landmarks
        self.spec = cvataa.DetectionFunctionSpec(labels=self.labels(label, names))

    @abstractmethod
    def labels(self, label: str, names: Sequence[str]) -> list[Any]: ...

    def found(self, context: Any, image: PIL.Image.Image) -> list[tuple[list[float], bool]]:
        """Of each landmark, in the set's order, where it is and whether it is visible."""
        answer = self._client.landmarks(encoded(image), self._landmarks)
        least = context.conf_threshold or 0.0
        return [
            ([point.x + HALF, point.y + HALF], point.visible and point.confidence >= least)
            for point in answer.landmarks
        ]


class Skeletons(Named):
    """One skeleton a frame, with every point once; those that are not visible are `outside`."""

    def labels(self, label: str, names: Sequence[str]) -> list[Any]:
        points = [cvataa.keypoint_spec(name, i) for i, name in enumerate(names)]
        return [cvataa.skeleton_label_spec(label, 0, points)]

    def detect(self, context: Any, image: PIL.Image.Image) -> Sequence[Any]:
        found = self.found(context, image)
        if not any(visible for _, visible in found):
            return []
        points = [
            cvataa.keypoint(i, place, outside=not visible)
            for i, (place, visible) in enumerate(found)
        ]
        return [cvataa.skeleton(0, points)]


class NamedPoints(Named):
    """A shape for each visible landmark, with its own label."""

    def labels(self, label: str, names: Sequence[str]) -> list[Any]:
        return [cvataa.label_spec(name, i, type="points") for i, name in enumerate(names)]

    def detect(self, context: Any, image: PIL.Image.Image) -> Sequence[Any]:
        return [
            cvataa.shape(i, type="points", points=place)
            for i, (place, visible) in enumerate(self.found(context, image))
            if visible
        ]


def encoded(image: PIL.Image.Image) -> bytes:
    """The frame as CVAT shows it, without loss."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
