"""Fast paths that raise, disagree or answer NaN are switched off, and the answer is still right."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.conftest import toy_vgg
from tests.tables import network_of
from weakpoints.engine.engine import Incremental
from weakpoints.engine.paths import Paths, Tried
from weakpoints.engine.trial import TrialBoxes, batching, trusted, whole_passes
from weakpoints.networks.network import Network

ALL = Paths(float16=True, triton=True, cuda_graphs=True)


@pytest.fixture(scope="module")
def network() -> Network:
    return network_of(toy_vgg())


@pytest.fixture(scope="module")
def boxes() -> TrialBoxes:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64, generator=rng)
    colours = torch.randn(4, 3, dtype=torch.float64, generator=rng)
    return TrialBoxes(x, ((0, 0), (5, 9), (27, 27), (0, 27)), 5, colours)


class Spoilt(Incremental):
    """An engine whose answers pass through `fault` from its second call on."""

    def __init__(self, network: Network, fault: Callable[[Tensor], Tensor]) -> None:
        super().__init__(network)
        self.fault, self.calls = fault, 0

    def logits(self, *arguments: object, **more: object) -> Tensor:
        self.calls += 1
        answer = super().logits(*arguments, **more)
        return answer if self.calls == 1 else self.fault(answer)


def raises(error: Exception) -> Callable[[Tensor], Tensor]:
    def fault(answer: Tensor) -> Tensor:
        raise error

    return fault


FAULTS = {
    "the launcher can't be compiled": raises(RuntimeError("Failed to find C compiler.\nSet CC")),
    "the cache can't be written": raises(OSError(30, "Read-only file system")),
    "the capture fails": raises(RuntimeError("operation not permitted when stream is capturing")),
    "no memory to record": raises(torch.OutOfMemoryError("CUDA out of memory")),
    "a kernel returns wrong numbers": lambda answer: answer.flip(0),
    "a kernel returns NaN": lambda answer: answer * torch.nan,
    "a kernel overflows": lambda answer: answer * torch.inf,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("broken", ["triton", "cuda_graphs"])
def test_a_path_with_a_fault_is_switched_off_and_the_others_stay(
    network: Network,
    boxes: TrialBoxes,
    broken: str,
    fault: Callable[[Tensor], Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def build(paths: Paths) -> Incremental:
        return Spoilt(network, fault) if getattr(paths, broken) else Incremental(network)

    engine, tried = trusted(build, ALL, boxes)
    assert {each.name: each.on for each in tried} == {
        name: name != broken for name in ("float16", "triton", "cuda_graphs")
    }
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{broken} is switched off")
    assert "\n" not in record.getMessage()
    torch.testing.assert_close(
        engine.logits(network.trace(boxes.x), boxes.corners, boxes.side, boxes.colours),
        whole_passes(network, boxes),
    )


def test_paths_that_answer_rightly_are_kept_with_what_they_gain(
    network: Network, boxes: TrialBoxes, caplog: pytest.LogCaptureFixture
) -> None:
    built: list[Paths] = []

    def build(paths: Paths) -> Incremental:
        built.append(paths)
        return Incremental(network)

    _, tried = trusted(build, ALL, boxes)
    assert built == [Paths(), Paths(True), Paths(True, True), ALL]
    assert [each.on for each in tried] == [True, True, True]
    assert all(each.gain is not None and each.gain > 0 for each in tried)
    assert not caplog.records


def test_a_path_that_was_not_wanted_is_not_tried(network: Network, boxes: TrialBoxes) -> None:
    _, tried = trusted(lambda paths: Incremental(network), Paths(triton=True), boxes)
    assert [each.name for each in tried] == ["triton"]


def test_an_engine_that_can_not_even_be_built_on_a_path_is_said(
    network: Network, boxes: TrialBoxes
) -> None:
    def build(paths: Paths) -> Incremental:
        if paths.triton:
            raise ImportError("cuda_utils.so: failed to map segment")
        return Incremental(network)

    _, tried = trusted(build, Paths(triton=True), boxes)
    why = "ImportError: cuda_utils.so: failed to map segment"
    assert tried == (Tried("triton", on=False, why=why),)


def test_what_the_plain_engine_raises_stops_the_start(network: Network, boxes: TrialBoxes) -> None:
    def build(paths: Paths) -> Incremental:
        return Spoilt(network, raises(RuntimeError("broken")))

    with pytest.raises(RuntimeError, match="broken"):
        trusted(build, ALL, boxes)


def test_pictures_that_answer_together_as_alone_may_wait_together(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alone = [torch.arange(5.0), torch.ones(2, 3)]
    found = batching(lambda: alone, lambda: [each * 1.01 for each in alone])
    assert (found.name, found.on) == ("batching", True)
    assert found.gain is not None
    assert not caplog.records


@pytest.mark.parametrize(
    ("together", "why"),
    [
        (lambda alone: alone[::-1], "ArithmeticError: together they differ by"),
        (lambda alone: [each * torch.nan for each in alone], "ArithmeticError: together"),
        (lambda alone: [alone[0][99]], "IndexError: "),
    ],
)
def test_pictures_that_answer_differently_together_are_looked_at_one_by_one(
    together: Callable[[list[Tensor]], list[Tensor]], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    alone = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
    found = batching(lambda: alone, lambda: together(alone))
    assert not found.on
    assert found.why is not None
    assert found.why.startswith(why)
    (record,) = caplog.records
    assert record.getMessage().startswith("batching is switched off")
