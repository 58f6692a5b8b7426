"""Two photographs in one, one of them asked for."""

from pathlib import Path

import numpy as np
import pytest

from tests.service import encoded
from weakpoints.errors import BadOption
from weakpoints.evaluation.pairs import (
    ARRANGEMENTS,
    SMALL,
    TILE,
    choose_cases,
    compose,
    figures,
    pairs,
)
from weakpoints.evaluation.photographs import folders_by_class
from weakpoints.evaluation.records import RecordedRows
from weakpoints.method.detector import Detector
from weakpoints.options import choose

RED, BLUE = np.full((40, 60, 3), (255, 0, 0), np.uint8), np.full((50, 30, 3), (0, 0, 255), np.uint8)


@pytest.fixture
def classes(tmp_path: Path, photograph: np.ndarray) -> Path:
    """Two classes by their labels, one by its index, two photographs each."""
    for name in ("ant", "bee", "0003"):
        (tmp_path / name).mkdir()
        for i in range(2):
            (tmp_path / name / f"{i}.png").write_bytes(encoded(np.roll(photograph, 9 * i, 1)))
    (tmp_path / "attribution.csv").write_text("not a photograph")
    return tmp_path


@pytest.mark.parametrize("layout", ARRANGEMENTS)
@pytest.mark.parametrize("corner", range(4))
def test_each_pixel_belongs_to_the_photograph_that_is_there(layout: str, corner: int) -> None:
    picture, owner = compose(RED, BLUE, layout, corner)
    assert picture.shape[:2] == owner.shape
    assert (picture[owner == 0] == RED[0, 0]).all()
    assert (picture[owner == 1] == BLUE[0, 0]).all()
    share = {"small_in_large": SMALL**2}.get(layout, 0.5)
    assert owner.mean() == pytest.approx(share)
    assert min(picture.shape[:2]) == TILE


def test_the_corners_of_a_small_photograph_are_four_places() -> None:
    places = {tuple(np.argwhere(compose(RED, BLUE, "small_in_large", i)[1])[0]) for i in range(4)}
    assert len(places) == 4


def test_a_folder_is_a_class_by_its_label_before_its_index(classes: Path) -> None:
    """Labels that are numbers, in the order of ImageFolder; a class with two folders; two called
    alike.
    """
    folders = {"3": classes / "3", "10": classes / "10", "0003": classes / "0003"}
    for name in ("3", "10"):
        folders[name].mkdir()
        (folders[name] / "only.png").write_bytes(b"")
    for name in ("ant", "bee"):
        (classes / name).rename(classes.parent / name)
    found = folders_by_class(classes, ("0", "1", "10", "2", "3"))
    assert {index: len(files) for index, files in found.items()} == {3: 2, 2: 1, 4: 1}
    found = folders_by_class(classes, ("ant", "bee", "10", "dog"))
    assert {index: len(files) for index, files in found.items()} == {3: 3, 2: 1}
    with pytest.raises(BadOption, match="'3', as the classes 1 and 3 are called"):
        folders_by_class(classes, ("0", "3", "10", "3"))


def test_cases_are_of_two_classes_in_every_layout_and_the_same_each_time(classes: Path) -> None:
    labels = ("ant", "bee", "cat", "dog")
    found = folders_by_class(classes, labels)
    assert list(found) == [3, 0, 1]
    cases = choose_cases(found, 12)
    assert cases == choose_cases(found, 12)
    assert {case.layout for case in cases} == set(ARRANGEMENTS)
    assert {case.asked for case in cases} == {0, 1}
    for case in cases:
        asked = case.paths[case.asked]
        assert asked in found[case.target]
        assert case.paths[1 - case.asked].parent != asked.parent
    assert len({case.name for case in cases}) == 12


def test_folders_that_the_network_does_not_know_are_refused(classes: Path) -> None:
    with pytest.raises(BadOption, match="bee"):
        folders_by_class(classes, ("ant", "cow", "cat", "dog"))
    with pytest.raises(BadOption, match="two classes"):
        choose_cases({0: (Path("a.png"),)}, 3)


def test_shares_are_means_over_cases_and_by_layout() -> None:
    shares = [{"keypoints": each} for each in (1.0, 0.5, 0.0)]
    found = figures(shares, [ARRANGEMENTS[0], ARRANGEMENTS[0], ARRANGEMENTS[2]])
    assert found["keypoints"] == 0.5
    assert found["by_layout"] == {
        ARRANGEMENTS[0]: {"keypoints": 0.75},
        ARRANGEMENTS[2]: {"keypoints": 0.0},
    }
    low, high = found["interval"]["keypoints"]
    assert low < 0.5 < high


def test_the_share_of_the_keypoints_stands_first_and_chance_beside_it(
    classes: Path, detector: Detector
) -> None:
    cases = choose_cases(folders_by_class(classes, detector.model.labels), 3)
    found = pairs(detector, cases, choose(patch=14, stride=14), RecordedRows())
    assert next(iter(found)) == "keypoint_share"
    assert found["keypoint_share"] == found["ours"]["keypoints"]
    assert found["cases"] == 3
    for method in ("ours", "paper"):
        for figure in ("keypoints", "coarse", "fine", "fused"):
            assert 0 <= found[method][figure] <= 1
    chances = {name: each["keypoints"] for name, each in found["chance"]["by_layout"].items()}
    assert chances["side_by_side"] == chances["one_above_the_other"] == 0.5
    assert chances["small_in_large"] == pytest.approx(SMALL**2 if cases[2].asked else 1 - SMALL**2)
