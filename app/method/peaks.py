"""From the fused map to the keypoints of the photograph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.method.fusion import corner_weight, standardise
from app.method.image import Frame
from app.method.keypoints import corner_likelihood, local_maxima, ranked, refine, strongest
from app.method.localization import Keypoint, Maps
from app.options import ResolvedOptions

# Shares of the input's side: a corner is as large a part of the photograph for every network.
CORNER_SIZE = 1 / 130  # deviation of the Gaussian before corners are looked for, and refined
WINDOW = 1 / 45  # half the refinement's window
DETAIL = 3  # pixels per network pixel of the picture on which corners are looked for, at most


@dataclass(frozen=True)
class Peaks:
    """Keypoints before refinement, strongest first.

    points: (N, 2) x, y in pixels of the photograph; log_likelihood: (N,).
    """

    points: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]


def find_peaks(
    image: NDArray[np.uint8], frame: Frame, score: NDArray[np.float64], options: ResolvedOptions
) -> Peaks:
    """The strongest peaks of an (S, S) score.

    `combine=log_sigmoid`: local maxima of the score. `combine=corners`: corners of the photograph,
    ranked by the score and by how much of a corner they are. So a map that moves a little changes
    the order of the keypoints, but not where they are.
    """
    if options.combine == "corners":
        grid = frame.close_up(DETAIL)
        detail = float(np.mean(frame.scale / grid.scale))
        by_corner = corner_likelihood(
            grid.stretched(image, frame.box), CORNER_SIZE * frame.side * detail
        )
        score = grid.stretched(score, frame.content) + corner_weight(options.weight) * by_corner
        peaks = ranked(local_maxima(by_corner, max(1, round(options.nms_radius * detail))), score)
    else:
        grid, peaks = frame, local_maxima(score, options.nms_radius)
    peaks = strongest(peaks, keep=options.keep, limit=options.max_keypoints)
    return Peaks(grid.to_image(peaks), score[peaks[:, 1], peaks[:, 0]])


def keypoints(
    image: NDArray[np.uint8], frame: Frame, maps: Maps, peaks: Peaks, target: int
) -> tuple[Keypoint, ...]:
    """The peaks refined to sub-pixel accuracy, with the maps' values there, in their order."""
    side = frame.side * float(np.mean(frame.scale))  # in pixels of the photograph
    points = refine(image, peaks.points, max(2, round(WINDOW * side)), CORNER_SIZE * side)
    x, y = np.rint(frame.to_network(peaks.points)).astype(int).clip(0, frame.side - 1).T
    coarse = standardise(maps.coarse, frame.inside)[y, x]
    fine = standardise(maps.fine, frame.inside)[y, x]
    return tuple(
        Keypoint(
            x=float(points.points[i, 0]),
            y=float(points.points[i, 1]),
            confidence=float(np.exp(peaks.log_likelihood[i])),
            log_likelihood=float(peaks.log_likelihood[i]),
            coarse=float(coarse[i]),
            fine=float(fine[i]),
            refined=bool(points.refined[i]),
            target=target,
            covariance=_covariance(points.covariance[i]) if points.refined[i] else None,
        )
        for i in range(len(peaks.points))
    )


def _covariance(c: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    return (float(c[0, 0]), float(c[0, 1])), (float(c[1, 0]), float(c[1, 1]))
