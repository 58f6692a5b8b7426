import os
import subprocess
import sys
from pathlib import Path

import pytest

from weakpoints.errors import WeakpointsError
from weakpoints.threads import affinity, quota, thread_count, wait_without_spinning


def test_the_setting_has_the_last_word_and_a_wrong_one_is_said() -> None:
    assert thread_count({"WEAKPOINTS_THREADS": " 7 "}) == 7
    assert 1 <= thread_count({"WEAKPOINTS_THREADS": ""}) <= affinity()
    for wrong in ("0", "-1", "two", "1.5", "1025"):
        with pytest.raises(WeakpointsError, match="a number from 1 to 1024"):
            thread_count({"WEAKPOINTS_THREADS": wrong})


@pytest.mark.parametrize(
    ("most", "expected"), [("50000 100000", 0.5), ("150000 100000", 1.5), ("max 100000", None)]
)
def test_a_quota_of_version_two_is_that_of_the_group_or_of_one_above_it(
    most: str, expected: float | None, tmp_path: Path
) -> None:
    (tmp_path / "pod" / "box").mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/pod/box\n")
    (tmp_path / "pod" / "cpu.max").write_text(most + "\n")
    (tmp_path / "pod" / "box" / "cpu.max").write_text("max 100000\n")
    assert quota(tmp_path / "cgroup", tmp_path) == expected


@pytest.mark.parametrize("tree", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("group", ["/docker/abc", "/"])
def test_a_quota_of_version_one_is_read_also_where_a_container_sees_no_path(
    tree: str, group: str, tmp_path: Path
) -> None:
    (tmp_path / tree).mkdir()
    (tmp_path / "cgroup").write_text(f"3:memory:/x\n2:cpu,cpuacct:{group}\n")
    (tmp_path / tree / "cpu.cfs_quota_us").write_text("50000")
    (tmp_path / tree / "cpu.cfs_period_us").write_text("100000")
    assert quota(tmp_path / "cgroup", tmp_path) == 0.5
    (tmp_path / tree / "cpu.cfs_quota_us").write_text("-1")
    assert quota(tmp_path / "cgroup", tmp_path) is None


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path / "nothing", tmp_path) is None


def test_a_command_waits_without_spinning_unless_somebody_said_otherwise() -> None:
    environment = {"WEAKPOINTS_THREADS": "3"}
    wait_without_spinning(environment)
    assert (environment["OMP_WAIT_POLICY"], environment["OMP_NUM_THREADS"]) == ("PASSIVE", "3")
    environment = {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "5"}
    wait_without_spinning(environment)
    assert (environment["OMP_WAIT_POLICY"], environment["OMP_NUM_THREADS"]) == ("ACTIVE", "5")


def test_the_library_takes_no_more_threads_than_it_is_told(tmp_path: Path) -> None:
    code = "from weakpoints.engine.threads import usable_threads; print(usable_threads())"
    environment = os.environ | {"WEAKPOINTS_THREADS": "1", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=environment, text=True).strip() == "1"
