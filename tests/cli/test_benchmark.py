from pathlib import Path

import pytest

from app.cli import benchmark
from app.cli.main import main


@pytest.mark.parametrize("words", [["service"], ["scale", "--images", "nowhere"]])
def test_without_the_client_it_is_said_how_to_install_it(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        benchmark, "find_spec", lambda name: None if name == "weakpoints_client" else True
    )
    assert main(["benchmark", *words]) == 1
    assert "pip install ./client" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["occlusion", "--network", "bundled", "--against", "full"],
        ["precision", "--images", "."],
        ["service"],
        ["scale", "--images", "nowhere"],
    ],
)
def test_away_from_a_checkout_it_is_said_that_one_is_needed(
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(benchmark, "BENCHMARKS", tmp_path / "benchmarks")
    assert main(["benchmark", *words]) == 1
    assert "in a checkout of the project" in capsys.readouterr().err


def test_without_captum_it_is_said_before_anything_is_tuned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None if name == "captum" else True)
    monkeypatch.setattr("benchmarks.speed.speed_of", lambda *args, **kwargs: 1 / 0)
    assert main(["benchmark", "occlusion", "--network", "bundled"]) == 1
    assert "pip install captum, or name --against full" in capsys.readouterr().err
