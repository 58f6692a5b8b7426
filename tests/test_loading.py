"""A network on a device: which of its fast paths are trusted."""

import logging

import pytest
import torch

from app import loading
from app.incremental.engine import Incremental
from app.incremental.paths import Paths
from app.incremental.trial import whole_passes
from app.method.image import InputSpec
from app.networks.architectures import network_of
from tests.conftest import toy_vgg

SPEC = InputSpec(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_a_cpu_has_no_fast_path_to_try() -> None:
    engine, paths = loading._fastest(network_of(toy_vgg()), None, "float32", SPEC)
    assert isinstance(engine, Incremental)
    assert paths == ()


@pytest.mark.parametrize("broken", [None, "triton"])
def test_a_gpu_s_paths_are_tried_on_a_photograph_and_a_broken_one_is_left_out(
    broken: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The engines are built on the CPU; what stands for a broken Triton is its launcher's error."""
    network = network_of(toy_vgg().float())

    def build(*arguments: object, triton: bool, **more: object) -> Incremental:
        if triton and broken == "triton":
            raise FileNotFoundError(2, "No such file or directory", "/nonexistent")
        return Incremental(*arguments, triton=triton, **more)

    monkeypatch.setattr(loading, "Incremental", build)
    monkeypatch.setattr(loading, "TRITON", True)
    boxes = loading._boxes(SPEC)
    with caplog.at_level(logging.WARNING):
        engine, tried = loading._trusted(network, None, Paths(triton=True, cuda_graphs=True), boxes)
    assert {each.name: each.on for each in tried} == {
        "triton": broken is None,
        "cuda_graphs": True,
    }
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (broken is not None)
    trace = network.trace(boxes.x)
    found = engine.logits(trace, boxes.corners, boxes.side, boxes.colours)
    torch.testing.assert_close(found, whole_passes(network, boxes), rtol=1e-4, atol=1e-4)
