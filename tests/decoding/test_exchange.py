"""The file by which a picture goes to the process that decodes."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from app.decoding.exchange import KEPT_BYTES, MemoryFiles, pixels_of, write
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
    def missing(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "memfd_create", missing)
    with MemoryFiles(0).one(b"a picture") as file:
        assert os.pread(file.fileno(), 99, 0) == b"a picture"


def test_a_file_is_used_again_unless_its_use_failed_and_keeps_few_bytes() -> None:
    files = MemoryFiles(1)
    with files.one(bytes(KEPT_BYTES + 1)) as first, files.one(b"another") as another:
        pass
    assert first.closed, "one is kept"
    failing = files.one(b"failed")
    assert failing.__enter__() is another
    assert not failing.__exit__(KeyError, KeyError(), None)
    assert another.closed
    with files.one(bytes(KEPT_BYTES + 1)) as large:
        pass
    assert large.closed, "a large one is not kept"
    files.close()


def test_a_large_picture_stays_where_it_is_and_nobody_changes_it() -> None:
    shape = (2, KEPT_BYTES // 4 + 1, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with MemoryFiles(1).one(b"a photograph") as file:
        write(file.fileno(), pixels.data.cast("B"))
        image = pixels_of(file, shape)
        for change in (lambda: os.pwrite(file.fileno(), b"\0", 0), lambda: file.truncate(9)):
            with pytest.raises(PermissionError):
                change()
    np.testing.assert_array_equal(image, pixels)
    image[0, 0] = 0  # a copy of that page
    with MemoryFiles(1).one(b"short") as file, pytest.raises(EOFError):
        pixels_of(file, shape)


def test_what_can_t_be_sealed_is_copied(tmp_path: Path) -> None:
    shape = (KEPT_BYTES + 1,)
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        file.write(bytes(KEPT_BYTES) + b"\1")
        assert pixels_of(file, shape)[-1] == 1
        file.truncate(9)
        with pytest.raises(EOFError):
            pixels_of(file, shape)


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
