import pytest

from app.errors import BadOption
from app.options import PRESETS, choose, resolve


def test_the_paper_preset_is_the_paper_to_the_letter() -> None:
    paper = resolve(choose("paper"), 224)
    assert (paper.box, paper.step, paper.colours, paper.fill, paper.score, paper.fine) == (
        16,
        8,
        1,
        "per_box",
        "probability",
        "guided",
    )
    assert (paper.keep, paper.combine, paper.weight, paper.fit) == (
        0.4,
        "log_sigmoid",
        0.5,
        "squash",
    )


def test_what_is_given_goes_over_the_preset_and_none_is_not_given() -> None:
    assert choose("paper", seed=9, score=None).score == "probability"
    assert choose("paper", seed=9).seed == 9
    assert choose() == PRESETS["default"]


def test_the_box_scales_with_the_input_side() -> None:
    small = resolve(choose(), 112)
    assert (small.box, small.step, small.radius) == (8, 4, 4)
    assert resolve(choose(patch=5), 112).box == 5


@pytest.mark.parametrize(
    ("given", "option", "limit"),
    [({"patch": 113}, "patch", 112), ({"patch": 4, "stride": 5}, "stride", 4)],
)
def test_a_box_that_does_not_fit_is_an_error_with_both_numbers(
    given: dict[str, int], option: str, limit: int
) -> None:
    with pytest.raises(BadOption) as raised:
        resolve(choose(**given), 112)
    assert raised.value.figures == {"option": option, "limit": limit, "actual": given[option]}


def test_options_that_were_not_resolved_have_no_box() -> None:
    with pytest.raises(ValueError, match="not resolved"):
        _ = choose().box
