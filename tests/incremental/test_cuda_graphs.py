from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from app.incremental import cuda_graphs as recorder
from app.incremental.cuda_graphs import Recorder
from app.incremental.engine import Incremental
from app.networks.architectures import network_of


class Tape:
    """Stands for CUDA's graphs: what is recorded reads and writes the memory that it was given when it was recorded."""

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def play() -> None:
            self.played += 1
            run()

        return play


def double(inputs: tuple[Tensor, ...], out: Tensor) -> None:
    torch.mul(inputs[0], 2, out=out)


def test_the_first_time_runs_the_second_records_and_every_answer_is_of_its_own_inputs() -> None:
    tape, out = Tape(), torch.empty(3)
    record = Recorder(tape)
    for i in range(5):
        record("double", double, (torch.full((3,), float(i)),), out)
        assert out.tolist() == [2.0 * i] * 3
    assert (tape.recorded, tape.played) == (1, 4)


def test_what_was_longest_unused_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "KEPT", 2)
    tape, out = Tape(), torch.empty(1)
    record = Recorder(tape)
    for key in "aabbaccaabb":
        record(key, double, (torch.ones(1),), out)
    assert tape.recorded == 4, "a, b, c, and b again, which c had driven out"


def test_a_recorded_occlusion_answers_for_each_picture_what_an_unrecorded_one_does(
    module: nn.Module, x: Tensor
) -> None:
    network, tape = network_of(module), Tape()
    corners = tuple((top, left) for top in range(0, 28, 9) for left in range(0, 28, 9))
    plain, recorded = Incremental(network), Incremental(network, recorder=Recorder(tape))
    for i in range(4):
        trace, colours = (
            network.trace(x.roll(3 * i, -1)),
            torch.full((len(corners), 3), float(i), dtype=x.dtype),
        )
        torch.testing.assert_close(
            recorded.logits(trace, corners, 5, colours),
            plain.logits(trace, corners, 5, colours),
            rtol=1e-12,
            atol=1e-12,
        )
    assert (tape.recorded, tape.played) == (1, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_s_graphs_answer_what_eager_chunks_do() -> None:
    from torchvision.models import vgg11

    network = network_of(
        vgg11(weights=None, num_classes=10).cuda().to(memory_format=torch.channels_last)
    )
    corners = tuple((top, left) for top in range(0, 64, 8) for left in range(0, 64, 8))
    engine, eager = Incremental(network), Incremental(network, recorder=Recorder(lambda run: run))
    for _ in range(4):
        trace, colours = (
            network.trace(torch.randn(1, 3, 80, 80)),
            torch.randn(len(corners), 3).cuda(),
        )
        found, expected = (each.logits(trace, corners, 16, colours) for each in (engine, eager))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
