"""Förstner's step: a corner to a fraction of a pixel, and how far noise moves it.

Paper: "Weakly supervised keypoint detection", section III; Förstner and Gülch (1987).
"""

from dataclasses import dataclass
from math import ceil, inf, pi, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from weakpoints.method.close_up import CloseUp

MIN_ROUNDNESS = 0.1  # of 4 det(A) / trace(A)^2, which is 1 for a corner and 0 for an edge
SHORT = 0.2  # of half the window: so short a step is taken whatever the window holds
UNIFORM = 1 / 12  # variance of a position that is known to the pixel


@dataclass(frozen=True)
class Refined:
    """N points after refinement; `refined` (N,) is false where a point stayed as it was.

    points: (N, 2) x, y in pixels. covariance: (N, 2, 2) in pixels squared, NaN where a point was
    not refined.
    """

    points: NDArray[np.float64]
    covariance: NDArray[np.float64]
    refined: NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """Gradients ix, iy at the positions xs, ys: all of one shape, at most (2 half + 1)^2 pixels."""

    ix: NDArray[np.float64]
    iy: NDArray[np.float64]
    xs: NDArray[np.float64]
    ys: NDArray[np.float64]


def refine(
    picture: CloseUp,
    points: NDArray[np.float64],
    half: int,
    spacing: float = 1.0,
    most_miss: float = inf,
) -> Refined:
    """The corner in the window of (2 half + 1)^2 pixels around each point.

    points: (N, 2) x, y in pixels of the close-up, each known to `spacing` pixels. x = A^-1 b, with
    A the sum of [Ix^2 IxIy; IxIy Iy^2] over the window, and b the sum of that matrix times the
    position. Where A is near singular, or the step would leave the window or the picture, the point
    stays as it is; also where the step is longer than SHORT of half the window and the edges miss
    the corner by more than `most_miss` pixels (see `miss`).
    """
    last = np.subtract(picture.grey.shape[::-1], 1)
    if min(last) < 1:  # a line of pixels has no gradient across
        points = np.clip(points, 0, last)
        return Refined(points, np.full((len(points), 2, 2), np.nan), np.zeros(len(points), bool))
    gradients = np.stack(list(np.gradient(picture.blurred.astype(np.float64))))
    placed = np.clip(points, 0, last)
    covariance = np.full((len(points), 2, 2), np.nan)
    refined = np.zeros(len(points), bool)
    for i, start in enumerate(placed.copy()):
        centre = np.rint(start).astype(int)
        window = _window(gradients, centre, half)
        solved = least_squares(window)
        if solved is None:
            continue
        corner, inverse = solved
        inside = (np.clip(corner, 0, last) == corner).all()
        if not inside or (np.abs(corner - start) > half).any():
            continue
        short = np.hypot(*(corner - start)) <= SHORT * half
        if not short and miss(window, corner) > most_miss:
            continue
        placed[i], refined[i] = corner, True
        noise = picture.noise**2 * noise_gain(window, corner, inverse, picture.sigma)
        moves = _moves(gradients, centre, half, corner)
        start_variance = _rounded(float(np.trace(noise)) / 2, spacing)
        covariance[i] = noise + start_variance * moves @ moves.T
    return Refined(placed, covariance, refined)


def least_squares(
    window: Window, weights: NDArray[np.float64] | float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The corner (2,) of a window and A^-1 (2, 2); None for an edge or a plain."""
    ix, iy = window.ix, window.iy
    xx, xy, yy = ((weights * product).sum() for product in (ix * ix, ix * iy, iy * iy))
    if xx + yy <= 0 or 4 * (xx * yy - xy * xy) < MIN_ROUNDNESS * (xx + yy) ** 2:
        return None
    along = weights * (ix * window.xs + iy * window.ys)
    inverse = np.linalg.inv([[xx, xy], [xy, yy]])
    return inverse @ [(ix * along).sum(), (iy * along).sum()], inverse


def miss(window: Window, corner: NDArray[np.float64]) -> float:
    """How far the window's edges pass the corner (2,) by: the root mean square, in pixels.

    Edges are weighted by their squared gradient. A sharp corner, blurred by a Gaussian of deviation
    s, has about s / sqrt(2).
    """
    ix, iy = window.ix, window.iy
    across = ix * (window.xs - corner[0]) + iy * (window.ys - corner[1])
    return float(np.sqrt((across**2).sum() / (ix**2 + iy**2).sum()))


def noise_gain(
    window: Window, corner: NDArray[np.float64], inverse: NDArray[np.float64], sigma: float
) -> NDArray[np.float64]:
    """(2, 2): the corner's covariance for noise of variance 1 in each pixel before the blur.

    To first order, a change d of the gradient at a pixel moves the corner by
    A^-1 (d r + g (d . p)), where g is the gradient, p the pixel seen from the corner and r = g . p.
    The transposes of differences and blur lead from there to the pixels of the picture.
    """
    dx, dy = window.xs - corner[0], window.ys - corner[1]
    residual = window.ix * dx + window.iy * dy
    by_ix = np.stack([residual + window.ix * dx, window.iy * dx], -1) @ inverse
    by_iy = np.stack([window.ix * dy, residual + window.iy * dy], -1) @ inverse
    reach = ceil(3 * sigma) + 1
    around = ((reach, reach), (reach, reach), (0, 0))
    by_ix, by_iy = np.pad(by_ix, around), np.pad(by_iy, around)  # (h, w, 2): how x and y move
    by_pixel = (np.roll(by_ix, 1, 1) - np.roll(by_ix, -1, 1)) / 2
    by_pixel = by_pixel + (np.roll(by_iy, 1, 0) - np.roll(by_iy, -1, 0)) / 2
    spread = cv2.GaussianBlur(by_pixel, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    flat = spread.reshape(-1, 2)
    return np.asarray(flat.T @ flat)


def _rounded(variance: float, spacing: float) -> float:
    """How much the pixel under a peak varies, where the peak itself has this variance.

    The peak is rounded to `spacing`. Where it varies by far less, the pixel is seldom another one:
    E[p (1 - p)] over all places of the peak in its pixel is deviation / sqrt(pi).
    """
    return variance + spacing * min(spacing * UNIFORM, sqrt(variance / pi))


def _moves(
    gradients: NDArray[np.float64],
    centre: NDArray[np.int64],
    half: int,
    corner: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(2, 2): how the corner moves where the window moves by a pixel along x, and along y."""
    ends = []
    for step in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        solved = least_squares(_window(gradients, centre + step, half))
        ends.append(corner if solved is None else solved[0])
    right, left, below, above = ends
    return np.column_stack([right - left, below - above]) / 2


def _window(gradients: NDArray[np.float64], centre: NDArray[np.int64], half: int) -> Window:
    """The part of it that lies in the picture. gradients: (2, h, w), along y and along x."""
    left, top = np.maximum(centre - half, 0)
    right, bottom = centre + half + 1
    iy, ix = gradients[:, top:bottom, left:right]
    ys, xs = np.indices(ix.shape, float)
    return Window(ix, iy, xs + left, ys + top)
