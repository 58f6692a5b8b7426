import pytest

from app.cli.main import main
from app.cli.studies import STUDIES, Study


@pytest.mark.parametrize("name", STUDIES)
def test_each_study_is_a_command_that_asks_its_question(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", name, "--help"]) == 0
    assert STUDIES[name].question[:40] in capsys.readouterr().out


def test_a_study_is_imported_when_it_is_asked() -> None:
    assert Study("which is more?", "builtins:max").measure(3, 4) == 4
