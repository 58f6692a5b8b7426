"""COCO keypoints: one convention for all that is written and read here, and by the page.

- (0, 0) is the picture's top-left corner, ours the centre of its first pixel: x and y are ours and
  a half, in keypoints and in `bbox`, which goes from the first keypoint to the last.
- Visibility is 2 for every keypoint that was found. COCO wants as many keypoints in each annotation
  as its category names: the rest are 0, 0, 0 and are not counted.
- Every id counts from 1; a category's is the index of its class and one.
- There is one annotation for each class that was explained on a photograph, its keypoints strongest
  first, their confidences and drops beside them.
"""

from collections.abc import Sequence
from typing import Any

from app.schemas.answers import WireKeypoint
from weakpoints.coco import HALF

COCO_VISIBLE = 2


def coco_image(number: int, name: str, width: int, height: int) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": width, "height": height}


def coco_category(class_id: int, label: str, most: int) -> dict[str, Any]:
    """most: keypoints of the annotation of this category that has the most."""
    names = [f"point_{i}" for i in range(1, most + 1)]
    return {"id": class_id + 1, "name": label, "keypoints": names, "skeleton": []}


def coco_annotation(
    number: int, image: int, class_id: int, points: Sequence[WireKeypoint], most: int
) -> dict[str, Any]:
    """The keypoints of one class on one photograph; `most` as its category has it."""
    rounded = [point.model_dump() for point in points]  # rounded, as the service answers
    triples = [(round(p["x"] + HALF, 3), round(p["y"] + HALF, 3), COCO_VISIBLE) for p in rounded]
    xs, ys = [x for x, _, _ in triples] or [0.0], [y for _, y, _ in triples] or [0.0]
    width, height = round(max(xs) - min(xs), 3), round(max(ys) - min(ys), 3)
    return {
        "id": number,
        "image_id": image,
        "category_id": class_id + 1,
        "iscrowd": 0,
        "keypoints": [figure for triple in triples for figure in triple]
        + [0, 0, 0] * (most - len(points)),
        "num_keypoints": len(points),
        "confidences": [p["confidence"] for p in rounded],
        "drops": [p["drop"] for p in rounded],
        "bbox": [min(xs), min(ys), width, height],
        "area": round(width * height, 3),
    }
