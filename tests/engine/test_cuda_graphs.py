from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.tables import network_of
from weakpoints.engine.engine import Incremental
from weakpoints.engine.tiles import cuda_graphs as recorder
from weakpoints.engine.tiles.cuda_graphs import Recorder


class Tape:
    """Stands for CUDA's graphs: what is recorded reads and writes the memory that it was given when
    it was recorded.
    """

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


def test_what_comes_once_drives_out_no_recording() -> None:
    """A request of many boxes has keys that never come again."""
    tape, out = Tape(), torch.empty(1)
    record = Recorder(tape)
    for key in ("often", "often", *range(3 * recorder.KEPT), "often"):
        record(key, double, (torch.ones(1),), out)
    assert (tape.recorded, tape.played) == (1, 2)


class Broken:
    """A capture that fails each time."""

    def __init__(self, error: Exception) -> None:
        self.error, self.tried = error, 0

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        self.tried += 1
        raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("operation not permitted"), torch.OutOfMemoryError("no room")]
)
def test_a_capture_that_fails_is_said_and_never_tried_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    capture, out = Broken(error), torch.empty(1)
    record = Recorder(capture)
    for i in range(9):
        record("double", double, (torch.full((1,), float(i)),), out)
        assert out.item() == 2 * i
    assert capture.tried == 1
    (logged,) = caplog.records
    assert str(error) in logged.getMessage()


def test_where_no_capture_works_none_is_tried_any_more(caplog: pytest.LogCaptureFixture) -> None:
    capture, out = Broken(RuntimeError("no graphs here")), torch.empty(1)
    record = Recorder(capture)
    for key in range(3 * recorder.FAILURES):
        for _ in range(2):
            record(key, double, (torch.ones(1),), out)
    assert capture.tried == len(caplog.records) == recorder.FAILURES


def test_on_out_of_memory_recordings_go_first_and_the_work_is_tried_once_more() -> None:
    tape, out = Tape(), torch.empty(1)
    record = Recorder(tape)
    for _ in range(2):
        record("kept", double, (torch.ones(1),), out)
    tries = 0

    def large(inputs: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise torch.OutOfMemoryError("no room beside the recordings")
        double(inputs, out)

    record("large", large, (torch.full((1,), 3.0),), out)
    assert out.item() == 6
    assert tries == 2
    record("kept", double, (torch.ones(1),), out)
    assert tape.recorded == 1, "the recording was given up, and its key starts anew"


def test_out_of_memory_without_recordings_is_raised() -> None:
    def too_large(inputs: tuple[Tensor, ...], out: Tensor) -> None:
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        Recorder(Tape())("large", too_large, (torch.ones(1),), torch.empty(1))


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
