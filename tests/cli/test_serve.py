import sys
from pathlib import Path

import pytest

from app.cli import main as cli
from app.cluster import start
from app.settings import Settings


@pytest.mark.parametrize("command", [["serve"], ["batch", "PHOTOS", "--out", "OUT"]])
def test_without_ray_its_engine_says_how_to_install_it(
    command: list[str],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(start, "find_spec", lambda name: None)
    monkeypatch.setattr("app.service.observability.logs.log_as_json", lambda: None)
    paths = {"PHOTOS": str(folder), "OUT": str(tmp_path / "out")}
    assert cli.main([paths.get(word, word) for word in command] + ["--engine", "ray"]) == 1
    said = caplog.text + capsys.readouterr().err  # the service logs it
    assert "pip install '.[ray]'" in said


def test_serve_listens_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []
    early: list[str] = []
    monkeypatch.setattr("app.service.server.serve", lambda settings: asked.append(settings) or 0)
    monkeypatch.setattr("app.service.observability.logs.log_as_json", lambda: early.append("logs"))
    monkeypatch.setattr("app.service.http.signals.leave_on_stop", lambda: early.append("signals"))
    monkeypatch.setattr("app.service.http.signals.leave", sys.exit)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["serve", "--host", "0.0.0.0", "--port", "8123"])
    assert [(each.host, each.port) for each in asked] == [("0.0.0.0", 8123)]
    assert early == ["logs", "signals"]


def test_a_wrong_setting_of_the_service_is_logged_and_exits_2(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEAKPOINTS_CONNECTIONS", "many")
    monkeypatch.setattr("app.service.observability.logs.log_as_json", lambda: None)
    monkeypatch.setattr("app.service.http.signals.leave_on_stop", lambda: None)
    assert cli.main(["serve"]) == 2
    assert "connections" in caplog.text


def test_whatever_breaks_the_service_is_a_line_of_its_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.service.server.serve", lambda settings: settings.nothing)
    monkeypatch.setattr("app.service.observability.logs.log_as_json", lambda: None)
    monkeypatch.setattr("app.service.http.signals.leave_on_stop", lambda: None)
    assert cli.main(["serve", "--port", "0"]) == 1
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("CRITICAL", "the service broke down")
    assert "AttributeError" in caplog.text
