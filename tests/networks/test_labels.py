import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakpoints.networks.labels import read_labels

LABELS = st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=20)


@given(LABELS)
def test_any_text_is_a_label_and_the_shapes_of_other_tools_are_read(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "labels.json"
    numbered = dict(reversed([(str(i), label) for i, label in enumerate(labels)]))
    keras = {index: [f"n{index}", label] for index, label in numbered.items()}
    for shape in (labels, numbered, keras):
        for escaped in (True, False):
            text = json.dumps(shape, ensure_ascii=escaped)
            file.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass"))
            try:
                text.encode()
            except UnicodeEncodeError:
                continue  # half a character: no text file has it
            assert read_labels(file) == tuple(labels)


def test_a_text_file_has_one_label_a_line(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("ant\nbee, honey\n", "utf-8")
    assert read_labels(tmp_path / "labels.txt") == ("ant", "bee, honey")
    (tmp_path / "labels.txt").write_text("ant\n\nbee\n")
    with pytest.raises(ValueError, match=r"label 1 in labels\.txt is ''"):
        read_labels(tmp_path / "labels.txt")


@pytest.mark.parametrize(
    "shape",
    [
        [0, 1],
        [["ant"], ["bee"]],
        [None, None],
        "xy",
        [],
        {},
        {"ant": 0, "bee": 1},
        {"1": "ant", "2": "bee"},
        {"0": ["n01", "ant"], "1": "bee"},
        {"0": ["n01", 3]},
        ["ant", "  "],
        3,
        None,
        True,
    ],
)
def test_anything_else_is_one_sentence_that_says_what_labels_are(
    shape: object, tmp_path: Path
) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(shape))
    with pytest.raises(ValueError, match=r"in labels\.json (is|are) .*a JSON list of texts"):
        read_labels(tmp_path / "labels.json")


def test_what_is_no_json_says_so(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("ant\nbee\n")
    with pytest.raises(ValueError, match=r"the labels in labels\.json are no JSON"):
        read_labels(tmp_path / "labels.json")
