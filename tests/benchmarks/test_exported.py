"""The exported networks themselves are run by `benchmark occlusion`, where the extra is installed.

Here a whole pass is a function.
"""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.cli import main as cli
from benchmarks.exported import EXPORT_BATCHES, masked, quickest


def sums(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 3): the sum of each colour, so that what a mask takes away shows."""
    assert len(pictures) in EXPORT_BATCHES
    totals: NDArray[np.float32] = pictures.sum((2, 3))
    return totals


@pytest.mark.parametrize("batch", EXPORT_BATCHES)
def test_each_masked_picture_has_its_own_logits_whatever_the_batch(batch: int) -> None:
    x = torch.arange(3 * 6 * 6, dtype=torch.float32).reshape(1, 3, 6, 6)
    corners = ((0, 0), (0, 3), (3, 0), (2, 2), (3, 3))
    logits = masked(sums, x, corners, 3, batch)
    for logit, (top, left) in zip(logits, corners, strict=True):
        picture = x[0].clone()
        picture[:, top : top + 3, left : left + 3] = 0
        assert logit.tolist() == picture.sum((1, 2)).tolist()


def test_every_batch_and_hint_is_tried_and_the_quickest_is_taken() -> None:
    tried = []

    def at(batch: int, hint: str) -> object:
        tried.append((batch, hint))
        return sums

    _, settings = quickest(at, torch.zeros(1, 3, 4, 4), ("LATENCY", "THROUGHPUT"))
    assert set(tried) == {
        (batch, hint) for batch in EXPORT_BATCHES for hint in ("LATENCY", "THROUGHPUT")
    }
    assert (settings["batch"], settings["hint"]) == tried[-1]


def test_they_are_of_a_cpu_alone(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["benchmark", "occlusion", "--device", "cuda", "--against", "openvino,full"]
    assert cli.main(command) == 2
    assert "--against openvino: --device cpu only" in capsys.readouterr().err
