"""Answers of the service as supervision's key points, with their covariance.

points = key_points(Client(url).landmarks(photograph, "car"))
image = sv.VertexEllipseAreaAnnotator().annotate(image, points)
"""

from collections.abc import Sequence

import numpy as np
import supervision as sv

from weakpoints_client import Detection, Keypoint, Landmark, NamedPoints

UNKNOWN = ((np.nan, np.nan), (np.nan, np.nan))


def key_points(answer: Detection | NamedPoints) -> sv.KeyPoints:
    """One object of `/detect`, or each of `/landmarks`.

    Pixels are counted from the centre of the first one, as OpenCV draws. The covariance of a point
    that was not refined is NaN.
    """
    groups: list[Sequence[Keypoint] | Sequence[Landmark]] = (
        [answer.keypoints]
        if isinstance(answer, Detection)
        else [thing.landmarks for thing in answer.objects]
    )
    likely = (
        [answer.prediction]
        if isinstance(answer, Detection)
        else [thing.prediction for thing in answer.objects]
    )
    count = len(groups), max(map(len, groups))
    return sv.KeyPoints(
        xy=np.array([[(p.x, p.y) for p in group] for group in groups]).reshape(*count, 2),
        class_id=np.array([entry.class_id for entry in likely]),
        keypoint_confidence=np.array([[p.confidence for p in group] for group in groups]),
        detection_confidence=np.array([entry.probability for entry in likely]),
        visible=np.array([[getattr(p, "visible", True) for p in group] for group in groups]),
        data={
            "covariance": np.array(
                [[p.covariance or UNKNOWN for p in group] for group in groups], float
            ).reshape(*count, 2, 2)
        },
    )
