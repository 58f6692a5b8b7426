"""What a real GPU does when it has no room left, and when it fails."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from app.settings import Settings
from weakpoints.errors import OutOfMemory
from weakpoints.loading import load_detector
from weakpoints.options import choose

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)

FAILS = """
import numpy as np, torch
from weakpoints.errors import DeviceLost
from weakpoints.loading import load_detector
from weakpoints.options import choose
from app.settings import Settings

detector = load_detector(Settings().manifest, "bundled", "cuda")
image = np.zeros((64, 64, 3), np.uint8)
detector.locate(image, choose())
torch.zeros(1, device="cuda")[torch.tensor([5], device="cuda")]  # an assertion of the device
try:
    detector.locate(image, choose())
except DeviceLost as error:
    print("lost:", error)
"""


def test_without_room_it_says_so_and_answers_as_before_when_there_is_room_again() -> None:
    detector = load_detector(Settings().manifest, "bundled", "cuda")
    expected = detector.locate(IMAGE, choose(stride=8))
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-5)
    try:
        with pytest.raises(OutOfMemory, match="too little memory"):
            detector.locate(IMAGE, choose(stride=7, patch=9))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    found = detector.locate(IMAGE, choose(stride=8))
    np.testing.assert_allclose(found.maps.coarse, expected.maps.coarse, rtol=1e-2, atol=1e-2)


def test_a_failure_of_the_device_is_told_as_such() -> None:
    command = [sys.executable, "-c", FAILS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "lost: the device failed" in done.stdout, done.stderr[-2000:]
