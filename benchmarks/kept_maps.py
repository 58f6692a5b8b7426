"""Photographs with their maps in a folder, so that a choice of fusion costs no forward pass."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.evaluation.arrays import Array
from weakpoints.method.detector import Detector
from weakpoints.method.keypoints import kept_count
from weakpoints.method.occlusion import class_score, occluded_logits, positions, spread
from weakpoints.method.peaks import Scene, find_peaks, refined
from weakpoints.method.rarity import log_rarity
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.method.suppression import sigma_of
from weakpoints.options import ResolvedOptions, choose

FINEST_BOXES = ((64, 32), (32, 32))  # box and step whose drops are kept, in one colour


@dataclass(frozen=True)
class MapSetting:
    """A box and its step in pixels, the coarse map's weight, and the step of the kept positions."""

    patch: int
    step: int
    weight: float
    kept_step: int = 32

    def map(self, drops: Array, side: int) -> tuple[Array, int]:
        """(S, S) coarse map, and its forward passes, from (n, n) drops of the kept positions."""
        starts = positions(side, self.patch, self.kept_step)
        chosen = positions(side, self.patch, self.step)
        at = [starts.index(start) for start in chosen]
        return spread(drops[np.ix_(at, at)], chosen, self.patch, side), len(at) ** 2


@dataclass(frozen=True)
class MapPicture:
    """A photograph with its maps. fine, rarity: (S, S). drops: (n, n) of each kept box and step."""

    detector: Detector
    scene: Scene
    options: ResolvedOptions
    fine: Array
    rarity: Array
    drops: dict[int, Array]

    @property
    def count(self) -> int:
        """How many keypoints the options keep."""
        total = len(self.scene.corners.maxima)
        return kept_count(total, keep=self.options.keep, limit=self.options.max_keypoints)

    @property
    def sigma(self) -> float:
        """The default's deviation for `soft_nms`, in pixels of the photograph."""
        return sigma_of(self.fine, self.scene.frame, self.options.combine)

    @property
    def candidates(self) -> Array:
        """(N, 2): all corners, before refinement."""
        return self.scene.close_up.frame.to_image(self.scene.corners.maxima)

    def points(
        self,
        setting: MapSetting,
        count: int | None = None,
        sigma: float | None = None,
        evidence: bool = True,
        rarity: bool = True,
    ) -> Array:
        """(N, 2): the first `count` candidates as they are taken, refined; None: all.

        sigma: how far apart, None: as the default does, 0: not at all. Without evidence they are
        ranked as corners alone. rarity: whether it is asked.
        """
        frame, most = self.scene.frame, count or len(self.scene.corners.maxima)
        options = replace(self.options, weight=setting.weight, keep=1.0, max_keypoints=most)
        coarse, _ = setting.map(self.drops[setting.patch], frame.side)
        fine = self.fine if evidence else np.zeros_like(self.fine)
        coarse = coarse if evidence else np.zeros_like(coarse)
        score = self.detector.fused(coarse, fine, frame, options)
        sigma = self.sigma if sigma is None else sigma
        scene = Scene(self.scene.close_up, frame, options)
        vars(scene)["corners"] = self.scene.corners  # the same for every setting
        rare = self.rarity if evidence and rarity else None
        return refined(scene, find_peaks(scene, score, sigma, rare)).points


def map_picture(
    detector: Detector,
    image: NDArray[np.uint8],
    target: int | None,
    kept: Path,
    boxes: Sequence[tuple[int, int]] = FINEST_BOXES,
) -> MapPicture:
    """With the maps from the folder, or made and kept there."""
    options = choose(target_class=target, colours=1)
    prepared = detector.prepare(image, options, Stopwatch())
    if prepared.scene is None or prepared.fills is None:
        raise ValueError("the photograph was prepared for its classes alone")
    digest = hashlib.sha256(image.tobytes() + repr((detector.model.sha256, target)).encode())
    file = kept / f"{digest.hexdigest()[:20]}.npz"
    if not file.exists():
        (seen,) = detector.forward_backward([prepared])
        found: dict[str, Any] = {"fine": seen.fine[0]}
        with detector.device():
            inside = prepared.frame.inside
            found["rarity"] = log_rarity(detector.network, seen.trace, inside)
            for patch, stride in boxes:
                asked = replace(prepared.options, patch=patch, stride=stride)
                fills = prepared.fills.to(seen.trace.x)
                logits = occluded_logits(detector.occluder, seen.trace, fills, asked)
                scores = (
                    class_score(z, seen.targets[0], "log_odds") for z in (seen.trace.logits, logits)
                )
                clean, covered = scores
                drops = (clean - covered).clamp(min=0).cpu().numpy()
                found[f"drops_{patch}"] = drops.reshape(2 * (round(drops.size**0.5),))
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(file, allow_pickle=False, **found)
    with np.load(file) as maps:
        dropped = {patch: maps[f"drops_{patch}"].astype(float) for patch, _ in boxes}
        fine, rarity = maps["fine"].astype(float), maps["rarity"].astype(float)
    return MapPicture(detector, prepared.scene, prepared.options, fine, rarity, dropped)
