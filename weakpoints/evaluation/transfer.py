"""Simpler ways to carry a landmark from one photograph to another: what named points must beat."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from weakpoints.evaluation.arrays import Array
from weakpoints.landmarks.describer import to_pixels
from weakpoints.landmarks.descriptors import GRID, Descriptors, at_places, similarity
from weakpoints.landmarks.matching import Reference
from weakpoints.method.frame import Frame

RATIO = 0.8  # Lowe 2004: the best match is so much nearer than the second


def same_place(reference: Reference, frame: Frame) -> Array:
    """(L, 2) pixels: where the landmarks are on the reference, as a share of the picture."""
    return to_pixels(frame, reference.shape.places)


def nearest_neighbour(reference: Reference, target: Descriptors, frame: Frame) -> Array:
    """(L, 2) pixels: the cell that is most like each landmark, without transport or votes."""
    import torch

    places = torch.tensor(reference.shape.places, dtype=torch.float32)
    best = similarity(at_places(reference.descriptors, places), target).argmax(1).numpy()
    return to_pixels(frame, np.stack([best % GRID, best // GRID], 1).astype(float))


@dataclass(frozen=True)
class SiftFeatures:
    """A photograph's keypoints, (N, 2) pixels, and their descriptors; None where it has none."""

    size: tuple[int, int]
    places: Array
    descriptors: NDArray[np.float32] | None

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> "SiftFeatures":
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        keypoints, descriptors = cv2.SIFT.create(1000).detectAndCompute(grey, None)
        places = np.array([keypoint.pt for keypoint in keypoints], float).reshape(-1, 2)
        known = None if descriptors is None else np.asarray(descriptors, np.float32)
        return cls((image.shape[1], image.shape[0]), places, known)


def sift_matches(reference: SiftFeatures, target: SiftFeatures, places: Array) -> Array:
    """(L, 2) pixels: each landmark moves as the nearest SIFT match does; without any, as scaled."""
    a, b = reference.descriptors, target.descriptors
    moved = places * np.divide(target.size, reference.size)
    if a is None or b is None or len(b) < 2:
        return np.asarray(moved)
    pairs = cv2.BFMatcher().knnMatch(a, b, k=2)
    kept = [one for one, two in pairs if one.distance < RATIO * two.distance]
    if not kept:
        return np.asarray(moved)
    start = reference.places[[match.queryIdx for match in kept]]
    end = target.places[[match.trainIdx for match in kept]]
    nearest = np.linalg.norm(places[:, None] - start[None], axis=2).argmin(1)
    return np.asarray(places + (end - start)[nearest])
