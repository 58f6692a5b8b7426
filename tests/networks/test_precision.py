from dataclasses import replace
from typing import Any

import pytest
import torch

from app.settings import Settings
from weakpoints import loading
from weakpoints.errors import WeightsError
from weakpoints.loading import load_detector
from weakpoints.networks.load import load_network
from weakpoints.networks.network import Network
from weakpoints.networks.precision import arithmetic, settled, tuned, windows
from weakpoints.options import Precision


def switches() -> tuple[bool, bool, bool]:
    return (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    )


def test_auto_is_half_precision_on_a_gpu_alone_and_what_was_asked_for_stays() -> None:
    assert settled("auto", "cuda") == "float16"
    assert settled("auto", "cpu") == "float32"
    assert settled("tf32", "cpu") == "tf32"
    assert windows("float16") == torch.float16
    assert windows("tf32") == windows("float32") == torch.float32


@pytest.mark.parametrize(
    ("precision", "rounds"), [("float32", False), ("tf32", True), ("float16", True)]
)
def test_a_gpu_rounds_only_where_it_may_and_every_switch_is_turned_back(
    precision: Precision, rounds: bool
) -> None:
    before = switches()
    during = []

    def fail() -> None:
        with arithmetic("cuda", precision):
            during.append(switches())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert during == [(False, rounds, rounds)]
    assert switches() == before


def test_nothing_is_switched_for_a_cpu() -> None:
    before = switches()
    with arithmetic("cpu", "tf32"), tuned("cpu"):
        assert switches() == before


def test_algorithms_are_tried_within_and_not_behind() -> None:
    before = switches()

    def fail() -> None:
        with arithmetic("cuda", "tf32"), tuned("cuda"):
            assert switches() == (True, True, True)
            with tuned("cpu"):
                assert switches() == (True, True, True)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert switches() == before


def test_half_precision_is_loaded_with_its_trace_in_float32() -> None:
    detector = load_detector(Settings().manifest, "bundled", "cpu", precision="float16")
    assert detector.model.precision == "float16"
    assert detector.occluder.dtype == torch.float16
    assert detector.network.like.dtype == torch.float32


def test_a_network_whose_numbers_half_precision_does_not_hold_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = load_network

    def huge(*args: Any) -> Network:
        first, *others = real(*args).layers
        return Network((replace(first, weight=first.weight * 1e6), *others))

    monkeypatch.setattr(loading, "load_network", huge)
    with pytest.raises(
        WeightsError,
        match=r"exceeds the numbers of torch.float16; set WEAKPOINTS_PRECISION=float32",
    ):
        load_detector(Settings().manifest, "bundled", "cpu", precision="float16")
