"""Keypoints against landmarks, for `benchmarks.trade`: ours, and what they have to beat."""

import numpy as np

from benchmarks.kept_maps import MapPicture, MapSetting
from weakpoints.evaluation.arrays import Array
from weakpoints.evaluation.baselines import Points, grid_points
from weakpoints.evaluation.matching import match, one_to_one
from weakpoints.evaluation.photographs import Landmarked

ALPHA = 0.1


def on_landmarks(
    photographs: list[tuple[Landmarked, MapPicture]],
    untrained: list[MapPicture],
    setting: MapSetting,
) -> dict[str, Array]:
    """(N, 2) F1 anywhere and F1 in the box of each method, by photograph.

    untrained: the same photographs seen by random weights.
    """
    rows: dict[str, list[tuple[float, float]]] = {}
    for (marked, seen), blind in zip(photographs, untrained, strict=True):
        radius, most = ALPHA * marked.size, seen.count
        more = 4 * most  # of which as many as ours lie in the box
        methods = {
            "ours": seen.points(setting, more),
            "ours_not_rare": seen.points(setting, more, rarity=False),
            "ours_unspread": seen.points(setting, more, sigma=0.0),
            "corners": seen.points(setting, more, sigma=0.0, evidence=False),
            "corners_spread": seen.points(setting, more, evidence=False),
            "random_weights": blind.points(setting, more, sigma=seen.sigma),
            "random_weights_not_rare": blind.points(setting, more, sigma=seen.sigma, rarity=False),
            "random_weights_own_extent": blind.points(setting, more),
            "random_weights_unspread": blind.points(setting, more, sigma=0.0),
        }
        inside = len(_within(marked, methods["ours"][:most]))
        for name, xy in methods.items():
            anywhere, boxed = xy[:most], _within(marked, xy)[:inside]
            figures = [match(some, marked.landmarks, radius).f1 for some in (anywhere, boxed)]
            rows.setdefault(name, []).append((figures[0], figures[1]))
        even = grid_points(marked.box, inside).xy
        whole = grid_points((0, 0, seen.scene.frame.width, seen.scene.frame.height), most).xy
        grid = (match(each, marked.landmarks, radius).f1 for each in (whole, even))
        rows.setdefault("grid", []).append((next(grid), next(grid)))
        candidates = seen.candidates
        best = best_choice(candidates, marked.landmarks, radius, most)
        best_inside = best_choice(_within(marked, candidates), marked.landmarks, radius, inside)
        rows.setdefault("oracle", []).append((best, best_inside))
    return {name: np.array(pairs) for name, pairs in rows.items()}


def recall_of_candidates(photographs: list[tuple[Landmarked, MapPicture]]) -> Array:
    """(N,): of each photograph the share of landmarks that a candidate is near, one to one."""
    shares = []
    for marked, seen in photographs:
        radius = ALPHA * marked.size
        hits = len(one_to_one(seen.candidates, marked.landmarks, radius)[0])
        shares.append(hits / len(marked.landmarks))
    return np.array(shares)


def ours(photographs: list[tuple[Landmarked, MapPicture]], setting: MapSetting) -> dict[str, Array]:
    """The same of our keypoints alone."""
    rows = []
    for marked, seen in photographs:
        xy, radius = seen.points(setting, seen.count), ALPHA * marked.size
        some = (xy, _within(marked, xy))
        rows.append([match(each, marked.landmarks, radius).f1 for each in some])
    return {"ours": np.array(rows)}


def best_choice(candidates: Array, landmarks: Array, radius: float, count: int) -> float:
    """F1 of the best `count` of the candidates, which knows the landmarks."""
    hits = min(len(one_to_one(candidates, landmarks, radius)[0]), count)
    return 2 * hits / (min(count, len(candidates)) + len(landmarks))


def _within(marked: Landmarked, xy: Array) -> Array:
    return Points(xy, np.zeros(len(xy))).within(marked.box).xy
