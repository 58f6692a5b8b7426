"""benchmarks/parts.py: what each part of the default adds."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.parts import PARTS, f1, figures, on_asked, points
from weakpoints.evaluation.pairs import Composition
from weakpoints.evaluation.photographs import read_coco
from weakpoints.method.detector import Detector
from weakpoints.options import choose


def test_each_part_has_as_many_points_and_figures_are_differences_in_pairs(
    annotated: Path, detector: Detector, photograph: np.ndarray
) -> None:
    found = points(detector, photograph, None)
    assert tuple(found) == PARTS
    assert len({len(xy) for xy in found.values()}) == 1
    assert len(found["coarse"]) == len(detector.locate(photograph, choose()).keypoints)
    marked = read_coco(annotated / "coco.json", annotated)
    scores = [f1(each, found) for each in marked]
    case = Composition(0, (marked[0].path, marked[1].path), 1, 3, "side_by_side", 0)
    asked = on_asked(case, detector)
    assert asked["chance"] == 0.5
    result = figures("toy", scores, [each.source for each in marked], [asked])
    (of_set,) = result["landmarks"].values()
    assert of_set["adds"]["contrast"] == pytest.approx(
        of_set["f1"]["contrast"] - of_set["f1"]["guided"]
    )
    assert result["pairs"]["contrast"] == asked["contrast"]
