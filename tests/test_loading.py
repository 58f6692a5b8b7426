"""A network on a device: which of its fast paths are trusted."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import toy_vgg
from tests.service import encoded, serving
from tests.tables import network_of
from weakpoints import loading
from weakpoints.engine.engine import Incremental
from weakpoints.engine.paths import Paths
from weakpoints.engine.tiles import kernels
from weakpoints.engine.trial import whole_passes
from weakpoints.method.detector import Detector
from weakpoints.method.frame import InputSpec
from weakpoints.method.stages import NetworkPass, Prepared
from weakpoints.networks.network import Network
from weakpoints.options import Limits, choose

PNG = {"content-type": "image/png"}
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

    def build(network: Network, *arguments: Any, triton: bool, **more: Any) -> Incremental:
        if triton and broken == "triton":
            raise FileNotFoundError(2, "No such file or directory", "/nonexistent")
        return Incremental(network, *arguments, **more | {"triton": triton})

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


@pytest.mark.parametrize("broken", [False, True])
def test_a_gpu_looks_at_pictures_together_if_it_sees_them_as_if_each_were_alone(
    broken: bool, detector: Detector
) -> None:
    class Turned(Detector):
        def forward_backward(self, waiting: Sequence[Prepared]) -> list[NetworkPass]:
            passes = super().forward_backward(waiting)
            return passes[::-1] if broken else passes

    tried = Turned(detector.occluder, detector.model, detector.input, max_passes=1)
    (found,) = loading._with_batching(tried).model.paths
    assert (found.name, found.on) == ("batching", not broken)


def launcher(*arguments: object, **more: object) -> None:
    """What Triton does at its first launch where there is a driver: compiles and loads it."""
    from triton.backends.nvidia.driver import CudaUtils

    CudaUtils()


@pytest.fixture
def broken_triton(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Triton without a compiler, nor a cache that can be written to: a file is in its place.

    The CPU stands for the GPU, so the errors are Triton's own.
    """
    triton_kernels = pytest.importorskip(
        "weakpoints.engine.tiles.triton_kernels", exc_type=ImportError
    )
    (tmp_path / "cache").touch()
    monkeypatch.setenv("CC", "/nonexistent")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache" / "triton"))
    monkeypatch.setenv("TRITON_LIBCUDA_PATH", str(tmp_path))
    monkeypatch.setattr(kernels, "fuses", lambda table, scratch: scratch.triton)
    monkeypatch.setattr(triton_kernels, "largest_rows", launcher)
    monkeypatch.setattr(triton_kernels, "biased", launcher)


@pytest.mark.usefixtures("broken_triton")
def test_without_a_compiler_triton_is_off_even_where_its_cache_can_be_written_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "writable"))
    network, boxes = network_of(toy_vgg().float()), loading._boxes(SPEC)
    _, (tried,) = loading._trusted(network, None, Paths(triton=True), boxes)
    assert not tried.on
    assert "/nonexistent" in str(tried.why)


@pytest.mark.usefixtures("broken_triton")
def test_a_service_whose_triton_is_broken_starts_and_answers_the_same_keypoints(
    detector: Detector, photograph: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"patch": 14, "stride": 14}
    boxes = loading._boxes(detector.input)
    wanted = Paths(triton=True)
    engine, tried = loading._trusted(detector.network, None, wanted, boxes)
    broken = replace(detector, occluder=engine, model=replace(detector.model, paths=tried))
    body = encoded(photograph)
    with serving(lambda: broken) as client:
        found = client.post("/detect", content=body, params=asked, headers=PNG).json()
        (path,) = client.get("/model").json()["paths"]
    (record,) = (each for each in caplog.records if each.levelname == "WARNING")
    why = path.pop("why")
    assert why.startswith("NotADirectoryError")
    said = "triton is switched off, the service is slower without it: "
    assert record.getMessage() == said + why
    assert path == {"name": "triton", "on": False, "gain": None}
    expected = detector(body, choose(**asked), Limits()).keypoints
    assert len(expected) > 3
    np.testing.assert_allclose(
        [(point["x"], point["y"]) for point in found["keypoints"]],
        [(point.x, point.y) for point in expected],
        atol=0.01,
    )
