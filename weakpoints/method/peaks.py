"""From the fused map to the keypoints of the photograph."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from weakpoints.method.frame import Frame
from weakpoints.method.fusion import corner_weight, standardise
from weakpoints.method.keypoints import (
    Refined,
    corner_likelihood,
    grey_of,
    local_maxima,
    ranked,
    refine,
    strongest,
)
from weakpoints.method.localization import Keypoint, Maps
from weakpoints.options import ResolvedOptions

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


@dataclass(frozen=True)
class Corners:
    """Corners on a close-up of the photograph.

    grid: the close-up's frame. likelihood: (h, w), see `corner_likelihood`. maxima: (N, 2) x, y,
    the strongest first.
    """

    grid: Frame
    likelihood: NDArray[np.float64]
    maxima: NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """A photograph, (H, W, 3) RGB, in which peaks are looked for.

    What the photograph itself says is worked out once, whatever the number of classes. seen:
    (H, W), which pixels can be seen; None: all.
    """

    image: NDArray[np.uint8]
    frame: Frame
    options: ResolvedOptions
    seen: NDArray[np.bool_] | None = None

    @cached_property
    def corners(self) -> Corners:
        grid = self.frame.close_up(DETAIL)
        detail = float(np.mean(self.frame.scale / grid.scale))
        likelihood = corner_likelihood(
            grid.stretched(self.image, self.frame.box), CORNER_SIZE * self.frame.side * detail
        )
        radius = max(1, round(self.options.nms_radius * detail))
        maxima = local_maxima(_visible(likelihood, grid, self.seen), radius)
        return Corners(grid, likelihood, maxima)

    @property
    def side(self) -> float:
        """The input's side, in pixels of the photograph."""
        return self.frame.side * float(np.mean(self.frame.scale))

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """(H, W), without detail that the network can't see, on which peaks are refined."""
        return grey_of(self.image, CORNER_SIZE * self.side)


def find_peaks(scene: Scene, score: NDArray[np.float64]) -> Peaks:
    """The strongest peaks of an (S, S) score, on pixels that are seen.

    `combine=log_sigmoid`: local maxima of the score. `combine=corners`: corners of the photograph,
    ranked by the score and by how much of a corner they are. So a map that moves a little changes
    the order of the keypoints, but not where they are.
    """
    options, grid = scene.options, scene.frame
    if options.combine == "corners":
        corners = scene.corners
        grid = corners.grid
        share = corner_weight(options.weight)
        score = grid.stretched(score, scene.frame.content) + share * corners.likelihood
        peaks = ranked(corners.maxima, score)
    else:
        peaks = local_maxima(_visible(score, grid, scene.seen), options.nms_radius)
    peaks = strongest(peaks, keep=options.keep, limit=options.max_keypoints)
    return Peaks(grid.to_image(peaks), score[peaks[:, 1], peaks[:, 0]])


def keypoints(scene: Scene, maps: Maps, peaks: Peaks, target: int) -> tuple[Keypoint, ...]:
    """The peaks refined to sub-pixel accuracy, with the maps' values there, in their order.

    None touches a pixel that is not seen: see `on_what_is_seen`.
    """
    frame = scene.frame
    points = refine(scene.grey, peaks.points, max(2, round(WINDOW * scene.side)))
    if scene.seen is not None:
        points = on_what_is_seen(points, peaks.points, scene.seen)
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


def on_what_is_seen(
    points: Refined, before: NDArray[np.float64], seen: NDArray[np.bool_]
) -> Refined:
    """Points that touch a pixel which can't be seen go back to the pixel where they were before.

    A point touches the up to four pixels around it.
    """
    last = np.subtract(seen.shape[::-1], 1)
    (left, top), (right, bottom) = (
        near(points.points).astype(int).clip(0, last).T for near in (np.floor, np.ceil)
    )
    fine = seen[top, left] & seen[top, right] & seen[bottom, left] & seen[bottom, right]
    return Refined(
        np.where(fine[:, None], points.points, np.rint(before).clip(0, last)),
        points.covariance,
        points.refined & fine,
    )


def _visible(
    score: NDArray[np.float64], frame: Frame, seen: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Minus infinity where the frame's pixels show nothing that can be seen."""
    if seen is None:
        return score
    return np.where(frame.sampled(seen, score.shape), score, -np.inf)


def _covariance(c: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    return (float(c[0, 0]), float(c[0, 1])), (float(c[1, 0]), float(c[1, 1]))
