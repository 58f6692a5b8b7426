"""Two photographs in one picture, one of them asked for: how much of the answer lies on it?

The grid pointing game (Böhle et al. 2021), made for keypoints. A method that follows the class puts
everything on the photograph that was asked for. One that only knows corners puts there what chance
gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadOption
from weakpoints.evaluation.arrays import Image
from weakpoints.evaluation.baselines import shi_tomasi
from weakpoints.evaluation.matching import summary
from weakpoints.evaluation.photographs import read, suppression
from weakpoints.evaluation.records import RecordedRows, Row
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.options import Options, choose

Arrangement = Literal["side_by_side", "one_above_the_other", "small_in_large"]
ARRANGEMENTS: tuple[Arrangement, ...] = get_args(Arrangement)
TILE = 300  # pixels: both photographs are squashed into squares of this side
SMALL = 0.4  # side of the small photograph inside the large one, of the large one's


@dataclass(frozen=True)
class Composition:
    """One picture made of two photographs.

    asked: index of the photograph that is asked for.
    target: its class.
    corner: where the small one lies, 0 to 3.
    """

    number: int
    paths: tuple[Path, Path]
    asked: int
    target: int
    layout: Arrangement
    corner: int

    @property
    def name(self) -> str:
        first, second = (f"{path.parent.name}/{path.name}" for path in self.paths)
        return f"{self.number} {self.layout} {first} {second} asked {self.asked}"


def pairs(
    detector: Detector, cases: Sequence[Composition], options: Options, rows: RecordedRows
) -> dict[str, Any]:
    """One object a method: how much of its answer lies on the photograph that was asked for.

    That is the share of its keypoints, and of each map's mass.

    keypoint_share: of our keypoints, the share on the photograph that was asked for; a mean over
    cases.
    ours: the options as given.
    shi_tomasi: as many corners as ours.
    chance: the share that the photograph has of the picture.
    """
    measured = rows.of({case.name: case for case in cases}, partial(_pairs_row, detector, options))
    layouts = [case.layout for case in cases]
    methods = {name: figures([row[name] for row in measured], layouts) for name in measured[0]}
    return {
        "keypoint_share": methods["ours"]["keypoints"],
        "keypoint_share_interval": methods["ours"]["interval"]["keypoints"],
        "cases": len(cases),
        "network": detector.model.name,
        **methods,
    }


def choose_cases(classes: Mapping[int, Sequence[Path]], count: int) -> list[Composition]:
    """`count` pairs of photographs of different classes, the same ones each time.

    Layouts come in turn.
    """
    if len(classes) < 2:
        raise BadOption("pairs need photographs of two classes")
    rng, targets = np.random.default_rng(0), sorted(classes)
    cases = []
    for i in range(count):
        two = [targets[j] for j in rng.choice(len(targets), 2, replace=False)]
        first, second = (classes[target][int(rng.integers(len(classes[target])))] for target in two)
        asked, corner = int(rng.integers(2)), int(rng.integers(4))
        layout = ARRANGEMENTS[i % len(ARRANGEMENTS)]
        cases.append(Composition(i, (first, second), asked, two[asked], layout, corner))
    return cases


def compose(
    first: Image, second: Image, layout: Arrangement, corner: int
) -> tuple[Image, NDArray[np.int64]]:
    """The picture, and (H, W) of whose each of its pixels is.

    0 is the first photograph's, 1 the second's.
    """
    first, second = square(first, TILE), square(second, TILE)
    owner = np.zeros((TILE, TILE), np.int64)
    match layout:
        case "side_by_side":
            return np.concatenate([first, second], 1), np.concatenate([owner, owner + 1], 1)
        case "one_above_the_other":
            return np.concatenate([first, second], 0), np.concatenate([owner, owner + 1], 0)
        case "small_in_large":
            side = round(SMALL * TILE)
            x, y = (TILE - side) * (corner % 2), (TILE - side) * (corner // 2)
            place = np.s_[y : y + side, x : x + side]
            picture = first.copy()
            picture[place], owner[place] = square(second, side), 1
            return picture, owner


def figures(rows: Sequence[Mapping[str, float]], layouts: Sequence[str]) -> dict[str, Any]:
    """Means and intervals of one method over all cases, and means by layout."""
    by_layout = {
        layout: [row for row, its in zip(rows, layouts, strict=True) if its == layout]
        for layout in ARRANGEMENTS
    }
    means = {
        layout: {name: float(np.mean([row[name] for row in its])) for name in its[0]}
        for layout, its in by_layout.items()
        if its
    }
    return summary(rows) | {"by_layout": means}


def _pairs_row(detector: Detector, options: Options, case: Composition) -> Row:
    """By method: what lies on the photograph that is asked for.

    That is the share of keypoints, and of each map's mass.
    """
    first, second = (read(path) for path in case.paths)
    picture, owner = compose(first, second, case.layout, case.corner)
    mine = owner == case.asked
    ours = detector.locate(picture, replace(options, target_class=case.target))
    paper = detector.locate(picture, choose("paper", target_class=case.target))
    corners = shi_tomasi(picture, suppression(ours)).first(len(ours.keypoints))
    return {
        "ours": _shares(ours, mine),
        "paper": _shares(paper, mine),
        "shi_tomasi": {"keypoints": _on(mine, corners.xy)},
        "chance": {"keypoints": float(mine.mean())},
    }


def _shares(found: Localization, mine: NDArray[np.bool_]) -> dict[str, float]:
    """Of the keypoints and of each map; half where there is nothing, since nothing was said."""
    maps = {
        "coarse": found.maps.coarse,
        "fine": found.maps.fine,
        "fused": np.exp(found.maps.fused),
    }
    shares = {name: _mass(found.frame.map_to_image(map_), mine) for name, map_ in maps.items()}
    points = np.array([(point.x, point.y) for point in found.keypoints]).reshape(-1, 2)
    return {"keypoints": _on(mine, points), **shares}


def _on(mine: NDArray[np.bool_], points: NDArray[np.float64]) -> float:
    if not len(points):
        return 0.5
    x, y = np.rint(points).astype(int).clip(0, np.array(mine.shape[::-1]) - 1).T
    return float(mine[y, x].mean())


def _mass(values: NDArray[np.floating], mine: NDArray[np.bool_]) -> float:
    total = float(values.clip(min=0).sum())
    return float(values.clip(min=0)[mine].sum()) / total if total > 0 else 0.5


def square(image: Image, side: int) -> Image:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
