import json
from typing import Any

import numpy as np
import pytest

from tests.landmarks.conftest import PLACES, coco
from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.annotations import read_annotations, read_categories

FILES = {"a.png": PLACES}


def read(**changes: Any) -> Any:
    return read_annotations(json.dumps(coco(FILES) | changes), "beast.json")


def test_landmarks_are_read_in_our_pixels_with_names_and_skeleton() -> None:
    found = read()
    assert (found.category, found.names) == ("beast", ("nose", "ear", "tail", "foot"))
    assert found.skeleton == ((0, 1), (1, 2))
    assert found.objects[0].places == pytest.approx(PLACES)
    assert found.objects[0].marked.all()


def annotation(keypoints: Any, **changes: Any) -> Any:
    return [{"image_id": 0, "category_id": 1, "keypoints": keypoints} | changes]


def test_hidden_and_missing_landmarks_are_not_marked() -> None:
    keypoints = [1, 1, 2, 5, 5, 1, 0, 0, 0, 7, 7, 2]
    found = read(annotations=annotation(keypoints))
    assert found.objects[0].marked.tolist() == [True, False, False, True]


def test_tools_that_write_1_for_every_point_are_understood() -> None:
    found = read(annotations=annotation([1, 1, 1, 5, 5, 1, 0, 0, 0, 7, 7, 1]))
    assert found.objects[0].marked.tolist() == [True, True, False, True]


CATEGORY = {"id": 1, "name": "beast", "keypoints": ["a", "b", "c", "d"]}
WRONG = {
    "no JSON": ("{", "is not JSON"),
    "a list": ("[]", "outermost value"),
    "no images": ({"images": 3}, "no list 'images'"),
    "an image without a name": ({"images": [{"id": 0}]}, "number 0 of 'images' has no 'file_name'"),
    "an unknown image": ({"annotations": annotation([1, 1, 2] * 4, image_id=9)}, "image 9"),
    "an unknown category": (
        {"annotations": annotation([1, 1, 2] * 4, category_id=7)},
        "category 7",
    ),
    "too few keypoints": ({"annotations": annotation([1, 1, 2])}, "has 1 keypoints.*names 4"),
    "no triples": ({"annotations": annotation([1, 1])}, "no triples"),
    "text": ({"annotations": annotation(["x", 1, 2])}, "no triples"),
    "not finite": ({"annotations": annotation([float("nan"), 1, 2] * 4)}, "no finite number"),
    "outside": ({"annotations": annotation([500, 1, 2] * 4)}, "'nose' of 'a.png'.*outside of 160"),
    "nothing marked": ({"annotations": annotation([0, 0, 0] * 4)}, "no object with a marked"),
    "one name twice": ({"categories": [CATEGORY | {"keypoints": ["a"] * 4}]}, "called 'a'"),
    "a skeleton too far": ({"categories": [CATEGORY | {"skeleton": [[1, 9]]}]}, "1 and 9"),
    "a skeleton of one": ({"categories": [CATEGORY | {"skeleton": [[1]]}]}, "list of pairs"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named(kind: str) -> None:
    changes, what = WRONG[kind]
    text = changes if isinstance(changes, str) else json.dumps(coco(FILES) | changes)
    with pytest.raises(BadAnnotations, match=what) as error:
        read_annotations(text, "beast.json")
    assert error.value.status == 422


def test_a_set_has_one_category_and_a_study_any_number() -> None:
    both = coco({"a.png": PLACES, "b.png": PLACES})
    both["categories"].append({"id": 2, "name": "plant", "keypoints": list("wxyz")})
    both["annotations"][1]["category_id"] = 2
    text = json.dumps(both)
    with pytest.raises(BadAnnotations, match="2 categories, 'beast', 'plant'"):
        read_annotations(text, "both.json")
    assert [each.category for each in read_categories(text, "both.json")] == ["beast", "plant"]


def test_unnamed_keypoints_are_numbered() -> None:
    found = read(categories=[{"id": 1, "name": "beast"}])
    assert found.names == ("point_1", "point_2", "point_3", "point_4")


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    assert read_annotations(json.dumps(coco(FILES)).encode("utf-8-sig"), "x").category == "beast"


def test_places_that_are_not_marked_are_not_kept() -> None:
    found = read(annotations=annotation([9, 9, 0, 1, 1, 2, 2, 2, 2, 3, 3, 2]))
    assert np.array_equal(found.objects[0].places[0], [0, 0])
