from dataclasses import fields, replace

import pytest

from tests.toys import LABELS
from weakpoints.errors import BadOption
from weakpoints.options import (
    NAMES,
    PRESETS,
    NetworkDefaults,
    ResolvedOptions,
    choose,
    resolve,
)


def test_the_paper_preset_is_the_paper_to_the_letter() -> None:
    paper = resolve(choose("paper"), 224, LABELS)
    assert (paper.patch, paper.stride, paper.colours, paper.fill, paper.score, paper.fine) == (
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
    small = resolve(choose(), 112, LABELS)
    assert (small.patch, small.stride, small.nms_radius) == (8, 4, 4)
    assert resolve(choose(patch=5), 112, LABELS).patch == 5


@pytest.mark.parametrize(
    ("given", "option", "limit"),
    [({"patch": 113}, "patch", 112), ({"patch": 4, "stride": 5}, "stride", 4)],
)
def test_a_box_that_does_not_fit_is_an_error_with_both_numbers(
    given: dict[str, int], option: str, limit: int
) -> None:
    with pytest.raises(BadOption) as raised:
        resolve(choose(**given), 112, LABELS)
    assert raised.value.figures == {"option": option, "limit": limit, "actual": given[option]}


def test_resolved_options_keep_the_names_and_their_order_and_resolve_to_themselves() -> None:
    resolved = resolve(choose("paper", target_class="bee", patch=9, seed=3), 112, LABELS)
    assert [each.name for each in fields(resolved)] == list(NAMES)
    assert resolved == replace(resolved, target_class=1, patch=9, stride=4, nms_radius=4)
    assert resolve(resolved, 112, LABELS) == resolved
    assert (resolved.preset, resolved.seed, resolved.keep) == ("paper", 3, 0.4)
    with pytest.raises(TypeError, match="patch"):
        ResolvedOptions(target_class=None, stride=4, nms_radius=4)


@pytest.mark.parametrize("wanted", ["unicorn", -1, 6])
def test_a_class_that_is_not_there_is_refused(wanted: int | str) -> None:
    with pytest.raises(BadOption, match="target_class is"):
        resolve(choose(target_class=wanted), 112, LABELS)


def test_classes_with_commas_between_them_are_several_and_a_label_with_a_comma_is_one() -> None:
    labels = ("ant", "bee, honey", "cat")
    found = [
        resolve(choose(target_class=wanted), 112, labels).target_class
        for wanted in ("bee, honey", "cat,0", "ant, ant", "ant", 2)
    ]
    assert found == [1, (2, 0), (0,), 0, 2]
    several = resolve(choose(target_class="cat,0"), 112, labels)
    assert resolve(several, 112, labels) == several
    assert several.targets == (2, 0)
    for wrong in ("ant,dog", "ant,3", ",".join(["ant"] * 11)):
        with pytest.raises(BadOption, match="target_class"):
            resolve(choose(target_class=wrong), 112, labels)


def test_a_network_s_own_defaults_hold_but_not_in_the_paper_s_preset() -> None:
    defaults = NetworkDefaults(64, 32, colours=1, weight=0.3)
    own = resolve(choose(), 224, LABELS, defaults)
    assert (own.patch, own.stride, own.colours, own.weight) == (64, 32, 1, 0.3)
    given = resolve(choose(patch=40, colours=4, weight=0.0), 224, LABELS, defaults)
    assert (given.patch, given.stride, given.colours, given.weight) == (40, 32, 4, 0)
    paper = resolve(choose("paper"), 224, LABELS, defaults)
    assert (paper.patch, paper.stride, paper.colours, paper.weight) == (16, 8, 1, 0.5)
    assert resolve(choose(), 224, LABELS) == resolve(choose(), 224, LABELS, NetworkDefaults(16, 8))
