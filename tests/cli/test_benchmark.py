import pytest

from app.cli import benchmark
from app.cli.main import main


@pytest.mark.parametrize("words", [["service"], ["scale", "--images", "nowhere"]])
def test_without_the_client_it_is_said_how_to_install_it(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    assert main(["benchmark", *words]) == 1
    assert "pip install ./client" in capsys.readouterr().err
