"""What makes a landmark less sure."""

from dataclasses import replace

import numpy as np
import pytest

from weakpoints.landmarks.clues import Clues
from weakpoints.landmarks.confidence import confidence_of

SURE = Clues(*(np.array([value]) for value in (0.2, 0.02, 0.02, 0.05, 0.4, 0.2, 1.0)))


@pytest.mark.parametrize("clue", ["back", "spread", "unlike"])
def test_doubt_lowers_confidence(clue: str) -> None:
    doubtful = replace(SURE, **{clue: getattr(SURE, clue) + 0.3})
    assert confidence_of(doubtful) < confidence_of(SURE)


def test_a_higher_map_and_more_references_raise_confidence() -> None:
    assert confidence_of(replace(SURE, height=SURE.height * 2)) > confidence_of(SURE)
    assert confidence_of(replace(SURE, references=SURE.references * 5)) > confidence_of(SURE)


def test_a_point_at_the_picture_s_edge_is_less_sure() -> None:
    assert confidence_of(replace(SURE, edge=np.array([0.0]))) < confidence_of(SURE)
