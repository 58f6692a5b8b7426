import hmac
from pathlib import Path

import pytest

from app.errors import Unauthorized
from app.method.detector import Detector
from app.service.api_keys import Keys
from tests.service import post, serving


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
        keys.check("", key)
    except Unauthorized:
        assert key not in {"alpha", "beta", "gamma"}
    assert compared == [(32, 32)] * 3
