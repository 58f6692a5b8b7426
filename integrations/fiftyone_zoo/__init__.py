"""A remote source of FiftyOne's model zoo: the service as a model.

model = foz.load_zoo_model("weakpoints", url="http://localhost:8000", landmarks="car")
dataset.apply_model(model, label_field="weakpoints")
"""

import io
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.models import Model
from numpy.typing import NDArray
from PIL import Image

from weakpoints_client import Client

HALF = 0.5  # pixels from the picture's corner to the centre of its first pixel


def download_model(model_name: str, model_path: str) -> None:
    """There is nothing to download: the service has the network."""


def load_model(model_name: str, model_path: str, **options: Any) -> "Weakpoints":
    return Weakpoints(**options)


class Weakpoints(Model):
    """Keypoints with confidences, the class, and with `heatmap` the fused map.

    landmarks: name of one of the service's landmark sets; then points have its order, and one that
    is not visible is NaN: `skeleton()` is the dataset's.
    """

    def __init__(
        self,
        url: str = "http://localhost:8000",
        key: str | None = None,
        landmarks: str | None = None,
        heatmap: bool = False,
    ) -> None:
        self._client, self._landmarks, self._heatmap = Client(url, key), landmarks, heatmap
        self._preprocess = False

    @property
    def media_type(self) -> str:
        return "image"

    @property
    def ragged_batches(self) -> bool:
        return True

    @property
    def transforms(self) -> None:
        return None

    @property
    def preprocess(self) -> bool:
        return self._preprocess

    @preprocess.setter
    def preprocess(self, value: bool) -> None:
        self._preprocess = value

    def skeleton(self) -> fo.KeypointSkeleton:
        """Of the landmark set; for `dataset.default_skeleton`."""
        cards = {card.name: card for card in self._client.landmark_sets().landmark_sets}
        card = cards[str(self._landmarks)]
        names = [point.name for point in card.landmarks]
        edges = [list(pair) for pair in card.skeleton] or [list(range(len(names)))]
        return fo.KeypointSkeleton(labels=names, edges=edges)

    def predict(self, arg: NDArray[np.uint8]) -> dict[str, Any]:
        """arg: (H, W, 3) of uint8."""
        buffer = io.BytesIO()
        Image.fromarray(arg).convert("RGB").save(buffer, "PNG", compress_level=1)
        photograph, (height, width) = buffer.getvalue(), arg.shape[:2]
        if self._landmarks:
            named = self._client.landmarks(photograph, self._landmarks)
            likely, label, points = named.prediction, self._landmarks, named.landmarks
            seen = [point.visible for point in points]
        else:
            found = self._client.detect(photograph)
            likely, label, points = found.prediction, found.prediction.label, found.keypoints
            seen = [True] * len(points)
        nowhere = (float("nan"), float("nan"))
        places = [
            ((point.x + HALF) / width, (point.y + HALF) / height) if visible else nowhere
            for point, visible in zip(points, seen, strict=True)
        ]
        confidence = [point.confidence for point in points]
        keypoint = fo.Keypoint(label=label, points=places, confidence=confidence)
        labels: dict[str, Any] = {
            "keypoints": fo.Keypoints(keypoints=[keypoint]),
            "class": fo.Classification(label=likely.label, confidence=likely.probability),
        }
        if self._heatmap:
            fused = self._client.heatmap(photograph, map="fused", style="gray16", size="image")
            grey = np.asarray(Image.open(io.BytesIO(fused)), np.float32) / 65535
            labels["heatmap"] = fo.Heatmap(map=grey, range=[0, 1])
        return labels
