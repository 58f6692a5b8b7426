import pytest

from app.cluster.start import RAY_ENVIRONMENT, Share, connected
from weakpoints.errors import WeakpointsError

ray = pytest.importorskip("ray")


@pytest.mark.parametrize("before", [False, True])
def test_ray_speaks_on_stderr_and_ends_if_it_was_started_here(
    before: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: before)
    monkeypatch.setattr(ray, "init", lambda **how: calls.append(how))
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    for name in RAY_ENVIRONMENT:
        monkeypatch.setenv(name, "mine")  # and whoever set them has the last word
    with connected(num_cpus=1):
        print("(raylet) something failed")
    print("a result")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("a result\n", "(raylet) something failed\n")
    assert calls == ([] if before else [{"num_cpus": 1}, "shutdown"])


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "auto"])
def test_a_cluster_that_is_not_there_is_one_sentence_and_soon(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_there(**how: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", none_there)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with (
        pytest.raises(WeakpointsError, match=r"^the cluster of RAY_ADDRESS='.*' can't be reached"),
        connected(),
    ):
        pass


def test_a_share_is_what_ray_reserves() -> None:
    assert Share(2, 0.5, 1).resources == {"num_cpus": 0.5, "num_gpus": 1}
