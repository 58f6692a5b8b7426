"""What is kept of annotations, however many come."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.service.labelstudio.projects import MOST_TASK_POINTS, PROJECTS, Projects, annotated_task
from app.service.labelstudio.regions import drawn_boxes
from app.service.labelstudio.studio import project_number
from tests.service.labelstudio.conftest import annotation, task
from weakpoints.errors import BadAnnotations


def test_the_latest_annotations_of_few_projects_are_kept() -> None:
    projects = Projects(3)
    for number in range(40):
        projects.learn("7", task(number, f"{number}.png"), annotation(number))
    assert list(projects.get("7").tasks) == [37, 38, 39]
    projects.learn("7", task(37, "37.png"), annotation(99))
    assert list(projects.get("7").tasks) == [38, 39, 37]
    for number in range(PROJECTS):
        projects.get(str(100 + number))
    assert projects.get("7").tasks == {}, "forgotten"


def test_the_category_with_most_objects_is_learnt() -> None:
    projects = Projects(9)
    assert projects.get("7").annotations() is None
    for number in range(3):
        made = annotation(number)
        made["result"][0]["value"] |= {"rectanglelabels": ["cat" if number else "dog"]}
        projects.learn("7", task(number, "x.png"), made)
    known = projects.get("7").annotations()
    assert known is not None
    assert (known.category, len(known.objects)) == ("cat", 2)


def test_long_data_of_a_task_is_not_kept() -> None:
    about = task(1, "a.png")
    about["data"] |= {"text": "x" * 10_000, "list": [1], **{f"f{i}": "y" for i in range(50)}}
    kept = annotated_task(about, annotation()).data
    assert kept["image"] == "a.png"
    assert (len(kept), "text" in kept, "list" in kept) == (20, False, False)


def outside() -> dict[str, Any]:
    made = annotation()
    made["result"][1]["value"]["x"] = 900
    return made


def crowd() -> dict[str, Any]:
    made = annotation()
    made["result"] *= MOST_TASK_POINTS
    return made


WRONG = {
    "no task": (None, annotation(), "`id` and `data`"),
    "no data": ({"id": 1}, annotation(), "`id` and `data`"),
    "no annotation": (task(1, "x"), 7, "an annotation"),
    "outside": (task(1, "x"), outside(), "outside of 160 x 120"),
    "too many": (task(1, "x"), crowd(), f"more than {MOST_TASK_POINTS} points"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_annotation_that_cannot_be_learnt_from_is_not_kept(kind: str) -> None:
    about, made, message = WRONG[kind]
    projects = Projects(3)
    with pytest.raises(BadAnnotations, match=message):
        projects.learn("7", about, made)
    assert projects.get("7").digest == ""


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
NAMES = ["id", "parentID", "type", "value", "x", "y", "width", "height", "keypointlabels", "result"]
NAMES += ["rectanglelabels", "original_width", "original_height", "data", "image", "was_cancelled"]
TEXTS = st.sampled_from(["keypointlabels", "rectanglelabels", "car", "wheel"])
JSON = st.recursive(
    SCALARS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=20,
)
REGIONS = st.lists(
    st.fixed_dictionaries(
        {
            "id": JSON,
            "type": TEXTS,
            "original_width": st.just(100) | JSON,
            "original_height": st.just(60) | JSON,
            "value": st.fixed_dictionaries(
                {
                    "x": st.floats(0, 100) | JSON,
                    "y": st.floats(0, 100) | JSON,
                    "width": JSON,
                    "height": JSON,
                    "keypointlabels": st.lists(TEXTS, max_size=2) | JSON,
                    "rectanglelabels": st.lists(TEXTS, max_size=2) | JSON,
                }
            ),
        },
        optional={"parentID": JSON},
    )
    | JSON,
    max_size=4,
)


@given(JSON | st.just(task(1, "a.png")), st.fixed_dictionaries({"result": REGIONS}) | JSON, JSON)
def test_whatever_comes_is_learnt_from_or_refused_in_a_sentence(
    about: Any, made: Any, project: Any
) -> None:
    projects, number = Projects(3), project_number(project)
    with suppress(BadAnnotations):
        projects.learn(number, about, made)
    projects.get(number).annotations()
    drawn_boxes(made)


def test_a_project_has_a_number_whatever_it_is_called() -> None:
    known = ["7.1716300000", 7, {"id": 7}, "../../etc", {"id": "x"}, None, "9" * 50, "\u0667"]
    assert [project_number(name) for name in known] == ["7"] * 3 + ["0"] * 5
