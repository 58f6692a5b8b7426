import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.landmarks.conftest import PLACES, coco, scene
from weakpoints.errors import BadAnnotations, BadImage, BadLandmarkSet
from weakpoints.landmarks.annotations import read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.landmark_set import MOST_REFERENCES, LandmarkSet, summary
from weakpoints.landmarks.learning import check_count, choose_references, learn
from weakpoints.landmarks.named import NamedPoints
from weakpoints.options import choose


def test_a_set_comes_back_from_its_file_as_it_was(
    tmp_path: Path, learnt: LandmarkSet, describer: Describer
) -> None:
    learnt.save(tmp_path / "beast.landmarks")
    again = LandmarkSet.load(tmp_path / "beast.landmarks")
    assert again.to_bytes() == learnt.to_bytes()
    assert summary("x", again) == summary("x", learnt)
    found = [
        NamedPoints(describer, each.pattern).find(scene((2, 2)), choose()).landmarks
        for each in (learnt, again)
    ]
    assert found[0] == found[1]
    assert [path.name for path in tmp_path.iterdir()] == ["beast.landmarks"]


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_set_that_was_cut_short_is_refused(learnt: LandmarkSet, length: int) -> None:
    with pytest.raises(BadLandmarkSet, match=r"cut short|no landmark set"):
        LandmarkSet.of_bytes(learnt.to_bytes()[:length], "beast.landmarks")


def test_a_set_that_was_tampered_with_is_refused(learnt: LandmarkSet) -> None:
    data = bytearray(learnt.to_bytes())
    data[-3] ^= 1
    with pytest.raises(BadLandmarkSet, match="changed after it was written"):
        LandmarkSet.of_bytes(bytes(data), "beast.landmarks")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"weakpoints landmarks 3", b"weakpoints landmarks 9", "has format"),
        (b"[0, 1]", b"[0, 2]", "changed after it was written"),
    ],
)
def test_a_header_that_is_wrong_is_refused(
    learnt: LandmarkSet, old: bytes, new: bytes, what: str
) -> None:
    assert old in learnt.to_bytes()
    with pytest.raises(BadLandmarkSet, match=what):
        LandmarkSet.of_bytes(learnt.to_bytes().replace(old, new), "beast.landmarks")


def test_a_set_says_what_to_expect(learnt: LandmarkSet) -> None:
    told = summary("beast", learnt)
    assert [each["name"] for each in told["landmarks"]] == ["nose", "ear", "tail", "foot"]
    assert all(0 <= each["expected"] <= 1 for each in told["landmarks"])
    assert told["references"] == 2


def annotations(**files: Any) -> Any:
    names = files or {"a": PLACES}
    text = json.dumps(coco({f"{name}.png": places for name, places in names.items()}))
    return read_annotations(text, "beast.json")


def test_a_photograph_that_did_not_come_is_named(describer: Describer) -> None:
    with pytest.raises(BadAnnotations, match=r"'a.png', but no photograph"):
        learn(describer, annotations(), {}.__getitem__, choose())


def test_a_reference_that_can_not_be_decoded_is_named(describer: Describer) -> None:
    def opened(name: str) -> Any:
        raise BadImage("the PNG can't be decoded")

    with pytest.raises(BadAnnotations, match=r"reference 'a.png': the PNG"):
        learn(describer, annotations(), opened, choose())


def test_a_photograph_smaller_than_its_landmarks_is_refused(describer: Describer) -> None:
    small = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(BadAnnotations, match=r"outside of 64 x 64"):
        learn(describer, annotations(), lambda name: small, choose())


def test_more_references_than_the_limit_are_refused() -> None:
    check_count(MOST_REFERENCES)
    with pytest.raises(BadAnnotations, match=f"at most {MOST_REFERENCES}"):
        check_count(MOST_REFERENCES + 1)


def test_the_references_that_help_are_kept(describer: Describer) -> None:
    """Three of one scene and one that shows nothing: the empty one is left out."""
    shifts = {"a": (0, 0), "b": (4, 2), "c": (8, 5)}
    images = {f"{name}.png": scene(shift) for name, shift in shifts.items()}
    images["empty.png"] = np.full((120, 160, 3), 90, np.uint8)
    places = {name: PLACES + shift for name, shift in shifts.items()} | {"empty": PLACES}
    learnt = learn(describer, annotations(**places), images.__getitem__, choose(), most=2)
    assert "empty.png" not in learnt.sources
    assert len(learnt.sources) == 2


def test_all_are_kept_where_there_are_few(describer: Describer) -> None:
    reference = describer.reference(scene(), PLACES, np.ones(4, bool), choose())
    assert choose_references([reference] * 3, 5) == [0, 1, 2]
