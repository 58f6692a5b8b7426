"""One rule for an option's value, wherever it comes from: Python, JSON, a query or a flag."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le
from httpx2 import QueryParams
from hypothesis import example, given
from hypothesis import strategies as st

from app.cli.main import main
from app.cli.parameters import OptionFlags
from app.schemas.queries import DetectParameters, DetectQuery, options_of
from weakpoints.class_names import MOST_TARGETS
from weakpoints.errors import BadOption
from weakpoints.given_options import options_from
from weakpoints.options import HINTS, NAMES, PRESETS, Options, Preset, choose, resolve
from weakpoints_client.calls import ApiCall

LABELS = ("ant", "bee, honey", "7", "cat", "cat", "caf\u00e9", "tench, Tinca, tinca")


def bounds(name: str) -> tuple[float, float, bool]:
    """The lowest and highest value, and whether the lowest itself is out."""
    notes = HINTS[name].__metadata__
    low = next(n for n in notes if isinstance(n, Ge | Gt))
    (high,) = (n.le for n in notes if isinstance(n, Le))
    strict = isinstance(low, Gt)
    return float(low.gt if strict else low.ge), float(high), strict


NUMBERS = [n for n in NAMES if any(isinstance(note, Le) for note in HINTS[n].__metadata__)]
WHOLE = [name for name in NUMBERS if name not in ("weight", "keep")]


def said(take: Callable[[], Options]) -> Options | str:
    """The options, or why there are none."""
    try:
        return take()
    except BadOption as error:
        return f"{error.detail}" if "option" in error.figures else "no option is named"


def everywhere(name: str, value: Any) -> Options | str:
    """What all of them make of a value, which must be the same."""
    python = said(lambda: options_from({name: value}))
    json = said(lambda: options_of({name: value}, DetectParameters).options())
    assert python == json
    texts = str if name == "target_class" else str | int | float  # there a number is an index
    if isinstance(value, texts) and not isinstance(value, bool):
        text = str(value)
        assert said(lambda: options_of({name: text}, DetectQuery).options()) == python
        try:
            flags = OptionFlags(**{name: text}).options()
        except ValueError as error:
            flag, why = f"--{name.replace('_', '-')} ", str(error)
            rule = str(python).partition(": ")[2]
            same = isinstance(python, str) and why.startswith(flag) and why.endswith(rule)
        else:
            same = flags == python
        assert same
    if name != "target_class":  # a text, which becomes classes where the network is known
        params = QueryParams(ApiCall(None, 1, None, {name: value}).options).multi_items()
        sent = said(lambda: options_of(dict(params), DetectQuery).options())
        sent = "given several times" if len(params) > 1 else sent
        assert sent == python if isinstance(python, Options) else isinstance(sent, str)
    return python


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_taken_up_to_its_bounds_and_not_beyond_them(name: str) -> None:
    low, high, open_below = bounds(name)
    step = 1 if name in WHOLE else 1e-9
    taken = [low + step, high - step, high] + ([] if open_below else [low])
    refused = [low - step, high + step, *([low] if open_below else [])]
    value: Any
    for value in taken:
        options = everywhere(name, value)
        assert isinstance(options, Options), value
        assert getattr(options, name) == value
        assert everywhere(name, np.float64(value)) == options
    for value in [*refused, float("nan"), float("inf"), -float("inf"), 1e300]:
        why = everywhere(name, value)
        assert isinstance(why, str), value
        assert why.startswith(f"{name} is '{value}': Input should be "), why
    for value in (
        True,
        np.False_,
        "one",
        "1_0",
        "\u0663",
        b"1",
        [1],
        {},
        "9" * 5000,
        Decimal("NaN"),
    ):
        assert isinstance(everywhere(name, value), str), value


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_number_may_be_of_any_type_but_has_no_fraction(name: str) -> None:
    for value in (1, 1.0, "1", " 1 ", "1.0", np.int8(1), np.uint64(1), np.array(1), np.float32(1)):
        assert getattr(everywhere(name, value), name) == 1
    assert everywhere(name, 1.5) == f"{name} is '1.5': Input should be a valid integer"


@pytest.mark.parametrize("name", NAMES)
def test_none_and_an_empty_text_stand_for_not_given(name: str) -> None:
    assert everywhere(name, None) == everywhere(name, "") == choose()


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 1100)
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1", "0.5", "squash", "log_odds", "paper", "00ff7F", "1,2,3,4", "7, ant"])
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@given(st.sampled_from(NAMES), ANYTHING)
@example("roi", [1, 2, 3, 10**9])
@example("roi", "1,2,3,4\n")
@example("background", "00ff7f\n")
@example("target_class", ["", "ant"])
def test_python_json_queries_and_flags_take_and_refuse_the_same(name: str, value: Any) -> None:
    options = everywhere(name, value)
    if isinstance(options, Options):
        assert options_from({name: getattr(options, name)}) == options


@given(
    st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=3), st.sampled_from([None, *PRESETS])
)
def test_whatever_is_given_is_options_over_the_preset_or_a_refusal(
    values: dict[str, Any], preset: Preset | None
) -> None:
    options = said(lambda: options_from(values | {"preset": preset}))
    if isinstance(options, Options):
        usual = PRESETS[preset or "default"]
        changed = {n for n in NAMES if getattr(options, n) != getattr(usual, n)}
        assert changed <= {*values, "preset"}
    else:
        assert options.split(" is ")[0] in values


def test_an_option_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(BadOption, match="no option 'pach'; options are background, colours") as why:
        options_from({"pach": 3})
    assert why.value.figures["known"] == sorted(NAMES)


@pytest.mark.parametrize("name", ["fit", "fill", "score", "fine", "combine", "preset"])
def test_a_choice_is_one_of_its_words(name: str) -> None:
    for wrong in ("luck", "SQUASH", 1, ["squash"], " default"):
        assert "Input should be '" in str(everywhere(name, wrong))


def test_a_box_is_four_whole_numbers_as_text_list_or_array() -> None:
    for value in ("1,2,30,40", [1, 2, 30, 40], (1, 2, 30.0, 40), np.array([1, 2, 30, 40])):
        assert everywhere("roi", value) == choose(roi=(1, 2, 30, 40))
    assert options_from({"roi": map(int, "123")} | {"roi": iter([1, 2, 30, 40])}).roi == (
        1,
        2,
        30,
        40,
    )
    wrong: Any
    for wrong in (
        "1,2,3",
        "1, 2, 3, 4",
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 3, -4],
        [1.5, 2, 3, 4],
        7,
    ):
        assert "four whole numbers" in str(everywhere("roi", wrong))
    for wrong in ([True, 1, 2, 3], np.zeros((4, 4)), {"x": 1, "y": 2, "w": 3, "h": 4}):
        assert "four whole numbers" in str(everywhere("roi", wrong))


def classes(value: Any) -> int | tuple[int, ...] | None:
    return resolve(options_from({"target_class": value}), 112, LABELS).target_class


def test_a_class_may_be_an_index_of_any_type_a_label_or_a_list_of_them() -> None:
    assert [classes(v) for v in (1, np.int64(1), np.array(1), "bee, honey", "001")] == [1] * 5
    for several in (
        [1, "ant"],
        ("bee, honey", 0),
        np.array([1, 0]),
        iter([1, 0]),
        "bee, honey,ant",
    ):
        assert classes(several) == (1, 0)
    assert classes(["ant"]) == classes(np.array([0])) == 0
    assert classes(["ant", 0, "ant"]) == (0,)
    assert classes("ant,tench, Tinca, tinca,7") == (0, 6, 2)
    wrong: Any
    for wrong in ([], {}, {"ant"}, [None], [""], [["ant"]], True, 1.5, b"ant", np.array([[1]])):
        assert "target_class is" in str(everywhere("target_class", wrong))
    for many in (range(MOST_TARGETS + 1), iter(int, 1), ",".join(["ant"] * (MOST_TARGETS + 1))):
        with pytest.raises(BadOption, match=f"{MOST_TARGETS}"):
            classes(many)


def test_a_label_goes_before_an_index_and_zeros_in_front_make_it_an_index() -> None:
    assert (classes("7"), classes(2), classes("2"), classes("06")) == (2, 2, 2, 6)
    with pytest.raises(BadOption, match=r"target_class is 7; classes go from 0 to 6"):
        classes(7)
    with pytest.raises(BadOption, match="none of the 7 labels"):
        classes("\u0661")  # a digit, but no index
    with pytest.raises(BadOption, match="none of the 7 labels"):
        classes("9" * 900)  # Python reads no such number


def test_a_label_that_two_classes_have_is_refused_with_both() -> None:
    with pytest.raises(BadOption, match="as the classes 3 and 4 are called") as why:
        classes("cat")
    assert why.value.figures["known"] == [3, 4]
    assert (classes(4), classes("3,4")) == (4, (3, 4))


def test_a_label_is_found_however_unicode_spells_it() -> None:
    assert classes("cafe\u0301") == classes("caf\u00e9") == 5


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--colours", "2.7"], '"2.7": Input should be a valid integer'),
        (["--colours", "0x10"], '"0x10": Input should be a valid integer'),
        (["--keep", "nan"], "nan"),
        (["--background", "white"], "six hexadecimal digits"),
    ],
)
def test_flags_read_numbers_as_the_service_does(
    flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", "photo.jpg", *flags]) == 2
    assert says in capsys.readouterr().err
