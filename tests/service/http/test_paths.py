import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.service.http.paths import QUIET, is_quiet, own_path

MOUNTS = st.sampled_from(["", "/kp", "/kp/", "/a/b", "/livez"])


@given(MOUNTS, st.sampled_from([*sorted(QUIET), "/detect", "/", "/kp", "/kpx"]))
def test_the_path_below_a_mount_is_the_one_that_a_route_has(mount: str, path: str) -> None:
    scope = {"type": "http", "path": mount.rstrip("/") + path, "root_path": mount}
    assert own_path(scope) == path
    assert is_quiet(scope) == (path in QUIET)


@pytest.mark.parametrize("path", ["/kpx/livez", "/other", "/livez"])
def test_a_path_that_is_not_below_the_mount_stays(path: str) -> None:
    assert own_path({"path": path, "root_path": "/kp"}) == path
    assert own_path({"path": path}) == path
