"""From the fused map to the keypoints of the photograph."""

from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np
from numpy.typing import NDArray

from weakpoints.method.close_up import CloseUp, close_up
from weakpoints.method.frame import Frame
from weakpoints.method.fusion import standardise
from weakpoints.method.keypoints import (
    contrast_normalised,
    corner_likelihood,
    kept_count,
    local_maxima,
    ranked,
)
from weakpoints.method.localization import Keypoint, Maps
from weakpoints.method.refinement import Refined, refine
from weakpoints.method.suppression import soft_nms
from weakpoints.options import ResolvedOptions

WINDOW = 1 / 45  # half the refinement's window, of the input's side: as large for every network
# Of half that window. One sharp corner has 0.25 to 0.28; the edges of several meet nowhere, and the
# least-squares point between them is none of them.
MOST_MISS = 0.28


# Of what the coarse map leaves, beside the fine map's share. They are logarithms of their own, so
# the weights need not add up to 1.
CORNER_WEIGHT = 1 / 4
RARITY_WEIGHT = 4 / 5


@dataclass(frozen=True)
class Peaks:
    """Keypoints before refinement, strongest first.

    points: (N, 2) x, y in pixels of the photograph; log_likelihood: (N,). spacing: pixels of the
    photograph to which they are known.
    """

    points: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    spacing: float


@dataclass(frozen=True)
class Corners:
    """Corners on the close-up.

    likelihood: (h, w), see `contrast_normalised`. maxima: (N, 2) x, y of `corner_likelihood`, the
    strongest first.
    """

    likelihood: NDArray[np.float64]
    maxima: NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """A photograph in which peaks are looked for, on a bounded number of pixels.

    What the photograph itself says is computed once, whatever the number of classes. seen: (H, W),
    which pixels of the photograph can be seen; None: all.
    """

    close_up: CloseUp
    frame: Frame
    options: ResolvedOptions
    seen: NDArray[np.bool_] | None = None

    @cached_property
    def corners(self) -> Corners:
        grid = self.close_up.frame
        likelihood = corner_likelihood(self.close_up.blurred)
        radius = max(1, round(self.options.nms_radius * float(np.mean(self.detail))))
        maxima = local_maxima(_visible(likelihood, grid, self.seen), radius)
        blurred, sigma = self.close_up.blurred, self.close_up.sigma
        return Corners(contrast_normalised(likelihood, blurred, sigma), maxima)

    @property
    def detail(self) -> NDArray[np.float64]:
        """(2,): pixels of the close-up per network pixel, in x and y."""
        return self.frame.scale / self.close_up.frame.scale


def scene_of(
    image: NDArray[np.uint8],
    frame: Frame,
    options: ResolvedOptions,
    seen: NDArray[np.bool_] | None = None,
) -> Scene:
    """Of an (H, W, 3) RGB photograph."""
    return Scene(close_up(image, frame.near(image), frame), frame, options, seen)


def find_peaks(
    scene: Scene,
    score: NDArray[np.float64],
    sigma: float = 0.0,
    rarity: NDArray[np.float64] | None = None,
) -> Peaks:
    """The strongest peaks of an (S, S) score, on pixels that are seen.

    `combine=log_sigmoid`: local maxima of the score. `combine=corners`: corners of the photograph,
    ranked by the score, by how much of a corner they are, and by how rare they are. So a map that
    moves a little changes which keypoints there are, but not where they are. sigma: of `soft_nms`,
    pixels of the photograph; what a peak's log-likelihood lost to stronger ones is off it. rarity:
    (S, S), see `log_rarity`; None: nothing is rare.
    """
    options, grid = scene.options, scene.frame
    if options.combine == "corners":
        corners, grid = scene.corners, scene.close_up.frame
        left = 1 - options.weight
        if rarity is not None:
            score = score + left * RARITY_WEIGHT * rarity
        score = grid.stretched(score, scene.frame.content)
        if left:  # 0 * -inf is no number
            score = score + left * CORNER_WEIGHT * corners.likelihood
        peaks = ranked(corners.maxima, score)
    else:
        peaks = local_maxima(_visible(score, grid, scene.seen), options.nms_radius)
    points, likelihoods = grid.to_image(peaks), score[peaks[:, 1], peaks[:, 0]]
    count = kept_count(len(peaks), keep=options.keep, limit=options.max_keypoints)
    taken, likelihoods = soft_nms(points, likelihoods, sigma, count)
    return Peaks(points[taken], likelihoods, float(np.mean(grid.scale)))


def keypoints(
    scene: Scene, maps: Maps, drop_error: NDArray[np.float64], peaks: Peaks, target: int
) -> tuple[Keypoint, ...]:
    """The peaks refined to sub-pixel accuracy, with the maps' values there, in their order.

    None touches a pixel that is not seen: see `on_what_is_seen`. drop_error: (S, S), the
    coarse map's standard error.
    """
    frame = scene.frame
    points = refined(scene, peaks)
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
            drop=float(maps.coarse[y[i], x[i]]),
            drop_error=None if np.isnan(error := drop_error[y[i], x[i]]) else float(error),
        )
        for i in range(len(peaks.points))
    )


def refined(scene: Scene, peaks: Peaks) -> Refined:
    """Förstner's step on the close-up, in pixels of the photograph.

    `combine=corners`: only where the window holds one corner. `log_sigmoid`, the paper:
    everywhere.
    """
    picture, grid = scene.close_up, scene.close_up.frame
    half = max(2, round(WINDOW * scene.frame.side * float(np.mean(scene.detail))))
    spacing = peaks.spacing / float(np.mean(grid.scale))
    most_miss = MOST_MISS * half if scene.options.combine == "corners" else inf
    near = refine(picture, grid.to_network(peaks.points), half, spacing, most_miss)
    last = np.subtract([grid.width, grid.height], 1)
    points = np.where(near.refined[:, None], grid.to_image(near.points), peaks.points)
    return Refined(
        points.clip(0, last),
        near.covariance * np.outer(grid.scale, grid.scale),
        near.refined,
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
