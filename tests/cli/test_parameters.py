from pathlib import Path
from typing import Any

import pytest

from app.cli.main import main
from app.cli.parameters import NetworkFlags, OptionFlags
from weakpoints.options import choose


def test_flags_become_the_service_s_options_over_the_preset() -> None:
    made: Any = OptionFlags  # its fields are made of the options: no type knows them
    given = made(preset="paper", keep=0.5, roi="1,2,30,40", target_class="7")
    assert given.options() == choose("paper", keep=0.5, roi=(1, 2, 30, 40), target_class="7")
    assert OptionFlags().options() == choose()


def test_help_tells_choices_ranges_and_the_values_of_presets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["detect", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "[choices: log_odds, probability, logit]" in said
    assert "[1 to 64] [paper: 1]" in said
    assert "[above 0 to 1] [default: 0.15, paper: 0.4]" in said
    assert "x,y,w,h in pixels" in said


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--colours", "65"], 'Invalid value "65" for --colours. Must be <= 64.'),
        (["--keep", "0"], 'Invalid value "0.0" for --keep. Must be > 0.'),
        (["--score", "luck"], 'Invalid value "luck" for --score.'),
        (["--roi", "1,2,3"], "--roi 1,2,3: "),
        (["--nonsense", "1"], "Unknown option: --nonsense"),
        (["--no-json"], "Unknown option: --no-json"),
    ],
)
def test_a_wrong_flag_is_told_with_its_value_and_limit_and_ends_with_two(
    wrong: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", "photo.jpg", *wrong]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("weakpoints: ")
    assert says in said.err
    assert said.out == ""


def test_a_flag_given_twice_counts_once_the_last_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["detect", "photo.jpg", "--stride", "3", "--stride", "0"]) == 2
    assert "0" in capsys.readouterr().err


def test_network_and_manifest_stand_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKPOINTS_NETWORK", "mine")
    monkeypatch.setenv("WEAKPOINTS_MANIFEST", "here.json")
    settings = NetworkFlags().settings()
    assert (settings.network, settings.manifest) == ("mine", Path("here.json"))
    settings = NetworkFlags("vgg19", Path("there.json")).settings()
    assert (settings.network, settings.manifest) == ("vgg19", Path("there.json"))
