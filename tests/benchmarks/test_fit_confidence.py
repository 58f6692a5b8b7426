"""The regression behind a landmark's confidence."""

import numpy as np
import pytest

from benchmarks.fit_confidence import WEIGHTS, Sample, fitted


def test_the_curve_that_made_the_samples_is_found() -> None:
    rng = np.random.default_rng(0)
    weights, constant = np.array([1.0, -2.0, 0.5]), -0.3
    clues = rng.normal(size=(20000, 3))
    right = rng.random(len(clues)) < 1 / (1 + np.exp(-(clues @ weights + constant)))
    none = np.zeros(len(clues), bool)
    found, at = fitted([Sample("whole", clues, right, none)])
    assert found == pytest.approx(weights, abs=0.1)
    assert at == pytest.approx(constant, abs=0.1)


def test_views_count_by_their_weight() -> None:
    clues, none = np.zeros((100, 1)), np.zeros(100, bool)
    samples = [Sample("whole", clues, ~none, none), Sample("foreign", clues, none, none)]
    _, constant = fitted(samples)
    assert constant == pytest.approx(-np.log(WEIGHTS["foreign"]), abs=1e-6)
