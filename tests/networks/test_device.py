"""The device that was asked for, or one sentence."""

import pytest
import torch

from weakpoints.errors import WeightsError
from weakpoints.networks.device import chosen_device


@pytest.mark.parametrize(("usable", "device"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_where_one_can_be_used(
    monkeypatch: pytest.MonkeyPatch, usable: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    assert chosen_device("auto") == device
    assert chosen_device("cpu") == "cpu"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "The NVIDIA driver on your system is too old (found version 12040).\nUpdate it"
        ),
        AssertionError("Torch not compiled with CUDA enabled"),
    ],
)
def test_a_gpu_that_can_not_be_used_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def init() -> None:
        raise error

    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(WeightsError, match="no GPU can be used") as raised:
        chosen_device("cuda")
    assert "\n" not in str(raised.value)


def test_a_gpu_is_chosen_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("cuda") == "cuda"
    assert chosen_device("cuda:1") == "cuda:1"
    with pytest.raises(WeightsError, match="there are 2 GPUs"):
        chosen_device("cuda:2")
