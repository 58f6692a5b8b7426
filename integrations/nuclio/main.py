"""A Nuclio function for CVAT's own automatic annotation: it forwards to the service.

WEAKPOINTS_URL, WEAKPOINTS_KEY and WEAKPOINTS_LANDMARKS say where to, and which landmark set; with
none, keypoints have the label of WEAKPOINTS_LABEL.
"""

import base64
import json
import os
from typing import Any

from weakpoints_client import Client, Refused

HALF = 0.5  # pixels from the picture's corner to the centre of its first pixel


def init_context(context: Any) -> None:
    url = os.environ.get("WEAKPOINTS_URL", "http://host.docker.internal:8000")
    context.user_data.client = Client(url, os.environ.get("WEAKPOINTS_KEY"))


def handler(context: Any, event: Any) -> Any:
    """CVAT sends `image` in base64, and perhaps `threshold`."""
    body = event.body if isinstance(event.body, dict) else json.loads(event.body)
    image, least = base64.b64decode(body["image"]), float(body.get("threshold") or 0.0)
    client: Client = context.user_data.client
    try:
        shapes, status = shapes_of(client, image, least), 200
    except Refused as refused:
        shapes, status = {"error": str(refused)}, refused.status or 502
    return context.Response(
        body=json.dumps(shapes), headers={}, content_type="application/json", status_code=status
    )


def shapes_of(client: Client, image: bytes, least: float) -> Any:
    landmarks = os.environ.get("WEAKPOINTS_LANDMARKS")
    label = os.environ.get("WEAKPOINTS_LABEL", "keypoint")
    if not landmarks:
        return [
            point_of(label, point.x, point.y, point.confidence)
            for point in client.detect(image).keypoints
            if point.confidence >= least
        ]
    answer = client.landmarks(image, landmarks)
    elements = [
        point_of(point.name, point.x, point.y, point.confidence)
        | {"outside": int(not (point.visible and point.confidence >= least))}
        for point in answer.landmarks
    ]
    if all(element["outside"] for element in elements):
        return []
    confidence = max(point.confidence for point in answer.landmarks)
    return [
        {"label": label, "type": "skeleton", "confidence": str(confidence), "elements": elements}
    ]


def point_of(label: str, x: float, y: float, confidence: float) -> dict[str, Any]:
    place = [x + HALF, y + HALF]
    return {"label": label, "type": "points", "points": place, "confidence": str(confidence)}
