"""From the maps to keypoints of the photograph: where they are, how sure they are, and what the maps say there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.method.fusion import standardise
from app.method.image import Frame
from app.method.keypoints import corner_likelihood, local_maxima, ranked, refine, strongest
from app.method.localization import Keypoint, Maps
from app.options import ResolvedOptions

WINDOW = 2.5  # network pixels that the refinement looks to each side of a peak
BLUR = 0.6  # network pixels: the scale at which it looks
CORNER = 0.6  # network pixels: the scale at which corners are looked for
DETAIL = 3  # of the photograph's pixels a network pixel are enough to look for them


@dataclass(frozen=True)
class Peaks:
    """points: (N, 2) x, y in pixels of the photograph, strongest first; log_likelihood: (N,)."""

    points: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]


def find_peaks(
    image: NDArray[np.uint8], frame: Frame, score: NDArray[np.float64], options: ResolvedOptions
) -> Peaks:
    """The strongest local maxima: of the score, or the photograph's corners, ranked by both, at DETAIL pixels a network pixel.

    Corners are maxima of the photograph alone: a map that moves a little changes their order, but not where they are.
    """
    if options.combine == "corners":
        grid = frame.close_up(DETAIL)
        detail = float(np.mean(frame.scale / grid.scale))
        by_corner = corner_likelihood(grid.stretched(image, frame.box), CORNER * detail)
        score = grid.stretched(score, frame.content) + (1 - options.weight) / 2 * by_corner
        peaks = ranked(local_maxima(by_corner, max(1, round(options.nms_radius * detail))), score)
    else:
        grid, peaks = frame, local_maxima(score, options.nms_radius)
    peaks = strongest(peaks, keep=options.keep, limit=options.max_keypoints)
    return Peaks(grid.to_image(peaks), score[peaks[:, 1], peaks[:, 0]])


def keypoints(
    image: NDArray[np.uint8], frame: Frame, maps: Maps, peaks: Peaks, target: int
) -> tuple[Keypoint, ...]:
    """The peaks refined to sub-pixel, with what the maps say at each, in the peaks' order."""
    scale = float(np.mean(frame.scale))
    points = refine(image, peaks.points, max(2, round(WINDOW * scale)), BLUR * scale)
    x, y = np.rint(frame.to_network(peaks.points)).astype(int).clip(0, frame.side - 1).T
    coarse, fine = (standardise(values, frame.inside)[y, x] for values in (maps.coarse, maps.fine))
    found = zip(
        points.points,
        peaks.log_likelihood,
        coarse,
        fine,
        points.refined,
        points.covariance,
        strict=True,
    )
    return tuple(
        Keypoint(
            x=float(at[0]),
            y=float(at[1]),
            confidence=float(np.exp(log_likelihood)),
            log_likelihood=float(log_likelihood),
            coarse=float(u),
            fine=float(v),
            refined=bool(refined),
            target=target,
            covariance=((float(c[0, 0]), float(c[0, 1])), (float(c[1, 0]), float(c[1, 1])))
            if refined
            else None,
        )
        for at, log_likelihood, u, v, refined, c in found
    )
