"""The file by which a picture goes to the process that decodes."""

import os
import resource

import pytest

from app.decoding.memory_file import KEPT, MemoryFiles, write
from weakpoints.errors import Unavailable


def test_a_file_holds_the_picture_and_takes_its_pixels() -> None:
    with MemoryFiles(0).one(b"a picture") as file:
        assert os.pread(file.fileno(), 99, 0) == b"a picture"
        write(file.fileno(), memoryview(b"pixels, which are more"))
        file.seek(0)
        assert file.read() == b"pixels, which are more"
    assert file.closed


@pytest.mark.parametrize("error", [AttributeError("memfd_create"), OSError(38, "not implemented")])
def test_without_files_in_memory_there_is_one_on_disk(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> int:
        raise error

    monkeypatch.setattr(os, "memfd_create", missing)
    with MemoryFiles(0).one(b"a picture") as file:
        assert os.pread(file.fileno(), 99, 0) == b"a picture"


def test_a_file_is_used_again_unless_its_use_failed_and_keeps_few_bytes() -> None:
    files = MemoryFiles(1)
    with files.one(bytes(KEPT + 1)) as first, files.one(b"another") as another:
        pass
    assert first.closed, "one is kept"
    failing = files.one(b"failed")
    assert failing.__enter__() is another
    assert not failing.__exit__(KeyError, KeyError(), None)
    assert another.closed
    with files.one(bytes(KEPT + 1)) as large:
        pass
    assert os.fstat(large.fileno()).st_size == KEPT
    files.close()
    assert large.closed


def test_a_file_that_takes_a_part_is_no_room_and_not_a_picture_cut_short() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))  # as `ulimit -f` does
    try:
        with (
            pytest.raises(Unavailable, match="no room to decode: File too large"),
            MemoryFiles(1).one(bytes(8193)),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
