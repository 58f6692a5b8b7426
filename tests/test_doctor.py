"""What a network is said to be made of."""

import torch
from torch import nn

from weakpoints import Weakpoints
from weakpoints.doctor import describe


def test_a_network_is_described_with_what_windows_save_and_why() -> None:
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    module = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.SiLU(), *head)
    made = Weakpoints(module=module, labels=("ant", "bee"), side=28, device="cpu")
    figures = describe(made.detector)
    assert figures["operations"] == sum(figures["kinds"].values()) == 5
    assert figures["parameters"] == 4 * 27 + 2 * 4 + 2
    assert figures["products"] == 26 * 26 * 4 * 27 + 2 * 4
    assert figures["form"] == "windows"
    assert figures["saved"] > 2
    assert figures["why"].endswith("times quicker by it")
    (path,) = made.detector.model.paths
    assert (path.name, path.on) == ("windows", True)
