"""What is sent and how a stream is read, without a service."""

import json
import pickle

import httpx2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakpoints_client.answers import Lines, Refused, refusal
from weakpoints_client.calls import ApiCall, Together


def sent(**options: object) -> dict[str, object]:
    return ApiCall(None, 1, None, options).options


def test_none_is_not_sent_and_numpy_s_values_are_sent_as_python_s() -> None:
    assert sent(roi=None, target_class=None, patch=8) == {"patch": 8}
    for several in ([3, 4], (3, 4), np.array([3, 4]), map(int, "34"), [np.int64(3), 4]):
        assert sent(target_class=several) == {"target_class": "3,4"}
    for one in (3, np.int64(3), np.array(3)):
        assert sent(target_class=one, max_keypoints=one) == {"target_class": 3, "max_keypoints": 3}
    assert type(sent(keep=np.float64(0.5))["keep"]) is float


@pytest.mark.parametrize(
    "box", ["1,2,3,4", [1, 2, 3, 4], np.array([1, 2, 3, 4]), iter([1, 2, 3, 4])]
)
def test_a_box_is_one_parameter_and_several_are_one_each(box: object) -> None:
    assert sent(roi=box) == {"roi": "1,2,3,4"}
    assert sent(roi=["1,2,3,4", (5, 6, 7, 8)]) == {"roi": ["1,2,3,4", "5,6,7,8"]}
    assert sent(roi=np.array([[1, 2, 3, 4], [5, 6, 7, 8]])) == {"roi": ["1,2,3,4", "5,6,7,8"]}


@given(
    st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))), st.integers(1, 7)
)
def test_only_a_line_feed_ends_a_line_however_the_bytes_come(texts: list[str], size: int) -> None:
    for end in ("\n", "\r\n"):
        data = end.join([*texts, "last"]).encode()
        lines, read = Lines(), list[str]()
        for start in range(0, len(data), size):
            read += lines.add(data[start : start + size])
        assert read + lines.add(b"") == [*texts, "last"]


@pytest.mark.parametrize("label", ["a\u2028b", "a\x85b", "a\u2029b", "a\x1cb"])
def test_labels_that_break_lines_elsewhere_are_read_from_ndjson(label: str) -> None:
    line = json.dumps({"problem": {"status": 422, "detail": label}, "index": 0}, ensure_ascii=False)
    group = Together(ApiCall(None, 1, None, {}), [b""])
    for text in Lines().add(line.encode() + b"\n"):
        group.take(text)
    assert group.pause() == 0
    assert str(group.answers[0]) == label


def test_events_are_read_with_and_without_a_space_in_several_lines_and_with_comments() -> None:
    steps: list[tuple[str, int, int]] = []
    call = ApiCall(None, 1, None, {}, lambda *step: steps.append(step))
    assert call.event([": still waiting"]) is None
    call.event(["event:progress", 'data:{"stage": "queue",', 'data: "done": 1, "total": 2}'])
    assert steps == [("queue", 1, 2)]
    with pytest.raises(Refused, match="over"):
        call.event(["id: 7", "retry", "event: error", 'data: {"detail": "over: and out"}'])


def test_a_refusal_goes_to_another_process_and_back() -> None:
    refused = pickle.loads(pickle.dumps(Refused({"status": 429, "detail": "full", "limit": 3})))
    assert (refused.status, str(refused), refused.problem["limit"]) == (429, "full", 3)


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError("no route"), Refused({"status": 504, "detail": "late"})]
)
def test_what_was_answered_is_kept_where_the_rest_fails(error: Exception) -> None:
    group = Together(ApiCall(None, 1, None, {}), [b"", b""])
    assert not Together(ApiCall(None, 1, None, {}), [b""]).fail(error)
    group.take('{"problem": {"status": 415}, "index": 1}')
    assert group.fail(error)
    first, second = group.answers
    assert isinstance(first, Refused)
    assert isinstance(second, Refused)
    assert (first.status, second.status) == (refusal(error).status, 415)
    assert group.rest == []
