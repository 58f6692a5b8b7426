import hmac
import os
from pathlib import Path

import pytest

from app.service.app import create_app
from app.service.http.api_keys import Keys
from app.settings import Settings
from tests.service import post, serving
from weakpoints.errors import Unauthorized, WeakpointsError
from weakpoints.method.detector import Detector


def test_keys_are_checked_and_read_again_and_the_probes_need_none(
    detector: Detector, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# ours\nalpha\nbeta\n")
    with serving(lambda: detector, api_keys=keys) as client:
        refused = post(client, 90)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert post(client, 90, authorization="Bearer gamma").status_code == 401
        assert post(client, 90, authorization="Bearer").status_code == 401
        assert post(client, 90, authorization="Bearer # ours").status_code == 401
        assert post(client, 90, authorization="bearer beta").status_code == 200
        assert post(client, 90, **{"x-api-key": "alpha"}).status_code == 200
        keys.write_text("gamma-gamma\n")
        assert post(client, 90, **{"x-api-key": "alpha"}).status_code == 401
        assert post(client, 90, **{"x-api-key": "gamma-gamma"}).status_code == 200
        keys.unlink()
        assert post(client, 90, **{"x-api-key": "gamma-gamma"}).status_code == 401
        assert client.get("/model").status_code == 401
        assert client.get("/livez").status_code == client.get("/metrics").status_code == 200


@pytest.mark.parametrize("key", ["alpha", "beta", "gamma", "delta", "", "\u00e9"])
def test_every_key_is_compared_in_constant_time_whichever_is_given(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text("alpha\nbeta\ngamma\n")
    keys, compared, compare = Keys(tmp_path / "keys"), [], hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or compare(a, b)
    )
    try:
        keys.check(key)
    except Unauthorized:
        assert key not in {"alpha", "beta", "gamma"}
    assert compared == [(32, 32)] * 3


def test_keys_of_a_file_from_windows_are_read(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "keys").write_text("first\n  # a comment\n second \n", encoding, newline="\r\n")
        keys = Keys(tmp_path / "keys")
        assert keys.check("first") != "first"
        keys.check("second")
        for no_key in ("# a comment", "  # a comment", "\ufefffirst", ""):
            with pytest.raises(Unauthorized):
                keys.check(no_key)


def test_a_key_that_is_changed_within_the_clock_s_tick_holds(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("before\n")
    keys, times = Keys(path), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    keys.check("before")
    path.write_text("behind\n")
    os.utime(path, ns=times)
    keys.check("behind")
    with pytest.raises(Unauthorized):
        keys.check("before")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_file_that_can_not_be_read_at_the_start_is_said(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeakpointsError, match="keys can't be read"):
        Keys(path)


def test_a_file_without_keys_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "keys").write_text("# none yet\n")
    keys = Keys(tmp_path / "keys")
    assert "nobody is let in" in caplog.text
    (tmp_path / "keys").write_text("now\n")
    keys.check("now")


def test_docs_ask_for_a_key_where_one_is_needed_and_only_there(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    guarded = create_app(Settings(api_keys=tmp_path / "keys")).openapi()
    assert guarded["components"]["securitySchemes"] == {
        "HTTPBearer": {"type": "http", "scheme": "bearer"},
        "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    either: list[dict[str, list[str]]] = [{"HTTPBearer": []}, {"APIKeyHeader": []}]
    for path, method in (("/detect", "post"), ("/heatmap", "post"), ("/model", "get")):
        assert guarded["paths"][path][method]["security"] == either
    assert "security" not in guarded["paths"]["/livez"]["get"]
    assert "securitySchemes" not in create_app(Settings()).openapi()["components"]
