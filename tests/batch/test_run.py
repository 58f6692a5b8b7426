import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.batch.collection import open_collection
from app.batch.records import open_log
from app.batch.run import LOG, Engine, Summary, check_outputs, located, plain, run_batch
from tests.service import encoded, picture, until
from tests.toys import LABELS, quick
from weakpoints.errors import BadOption, DeviceLost, OutOfMemory, WeakpointsError
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.options import Limits, Options, choose
from weakpoints.progress import Progress, no_progress

OPTIONS = choose(patch=14, stride=14)
FILES = ("keypoints.coco.json", "keypoints.parquet")


@pytest.fixture
def folder(tmp_path: Path, photograph: np.ndarray) -> Path:
    return written(tmp_path / "photos", photograph)


def written(photos: Path, photograph: np.ndarray) -> Path:
    """Five photographs, one of them of one colour, and two that fail."""
    (photos / "deep").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.png", "deep/c.png", "e.png")):
        (photos / name).write_bytes(encoded(np.roll(photograph, 9 * i, 1)))
    (photos / "flat.png").write_bytes(encoded(np.full((60, 80, 3), 90, np.uint8)))
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:300])
    (photos / "empty.png").write_bytes(b"")
    return photos


def run(
    engine: Engine,
    detector: Detector,
    folder: Path,
    out: Path,
    resume: bool = False,
    options: Options = OPTIONS,
) -> Summary:
    return run_batch(
        engine,
        detector.model,
        options,
        open_collection(str(folder)),
        out,
        resume=resume,
        progress=lambda lines, total: lines,
    )


def here(detector: Detector, folder: Path) -> Engine:
    return plain(detector, open_collection(str(folder)).reader, OPTIONS, Limits())


class Killed(BaseException):
    """As if the process ended."""


def killed_after(engine: Engine, count: int) -> Engine:
    def lines(names: Sequence[str]) -> Iterator[str]:
        for done, line in enumerate(engine(names)):
            if done == count:
                raise Killed
            yield line

    return lines


def test_coco_has_what_was_found_and_what_failed(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    summary = run(here(detector, folder), detector, folder, tmp_path / "out")
    assert (summary.done, summary.skipped, summary.failed) == (5, 0, 2)
    coco = json.loads((tmp_path / "out" / FILES[0]).read_text())
    assert [image["file_name"] for image in coco["images"]] == [
        "a.png",
        "b.png",
        "deep/c.png",
        "e.png",
        "flat.png",
    ]
    for image, annotation in zip(coco["images"], coco["annotations"], strict=True):
        assert annotation["image_id"] == image["id"]
        names = coco["categories"][annotation["category_id"] - 1]["keypoints"]
        assert len(annotation["keypoints"]) == 3 * len(names)
        assert annotation["num_keypoints"] == len(annotation["confidences"])
        assert annotation["keypoints"][2::3].count(2) == annotation["num_keypoints"]
        assert all(0 <= x < image["width"] for x in annotation["keypoints"][::3])
    assert coco["categories"][coco["annotations"][0]["category_id"] - 1]["name"] in LABELS
    assert [each["file_name"] for each in coco["errors"]] == ["broken.png", "empty.png"]
    assert "cut short" in coco["errors"][0]["error"]


def test_parquet_has_a_row_a_keypoint_and_every_photograph(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    run(here(detector, folder), detector, folder, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / FILES[1])
    assert json.loads(table.schema.metadata[b"weakpoints"])["options"]["patch"] == 14
    rows = table.to_pylist()
    assert {row["file_name"] for row in rows} == {
        "a.png",
        "b.png",
        "broken.png",
        "deep/c.png",
        "e.png",
        "empty.png",
        "flat.png",
    }
    found = detector((folder / "a.png").read_bytes(), OPTIONS, Limits())
    mine = [row for row in rows if row["file_name"] == "a.png"]
    assert [row["rank"] for row in mine] == list(range(len(found.keypoints)))
    for row, point in zip(mine, found.keypoints, strict=True):
        assert (row["x"], row["y"], row["refined"]) == (
            round(point.x, 3),
            round(point.y, 3),
            point.refined,
        )
        assert row["covariance_xy"] == (
            float(f"{point.covariance[0][1]:.6g}") if point.covariance else None
        )
    (bad,) = (row for row in rows if row["file_name"] == "broken.png")
    assert "cut short" in bad["error"]
    assert bad["x"] is bad["rank"] is bad["width"] is None


def test_a_photograph_without_keypoints_is_there_too(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    def lines(names: Sequence[str]) -> Iterator[str]:
        yield from (
            json.dumps(
                {"file_name": name, "width": 9, "height": 9, "class_id": 1, "probability": 1}
            )
            for name in names
        )

    run(lines, detector, folder, tmp_path / "out")
    assert [row["rank"] for row in pq.read_table(tmp_path / "out" / FILES[1]).to_pylist()] == [
        None
    ] * 7
    coco = json.loads((tmp_path / "out" / FILES[0]).read_text())
    assert [(each["num_keypoints"], each["bbox"]) for each in coco["annotations"]] == [
        (0, [0, 0, 0, 0])
    ] * 7


@pytest.fixture(scope="module")
def runs(
    detector: Detector, photograph: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Photographs, what a whole run made of them, and what one left that was killed."""
    root = tmp_path_factory.mktemp("runs")
    folder = written(root / "photos", photograph)
    engine = here(detector, folder)
    run(engine, detector, folder, root / "whole")
    with pytest.raises(Killed):
        run(killed_after(engine, 3), detector, folder, root / "killed")
    return root


@pytest.mark.parametrize(
    "torn", [b"", b'{"file_name": "e.png"}', b'{"file_name": "e.png", "wid', b"\xff\xfe", b"{}\n"]
)
def test_a_killed_run_goes_on_and_ends_the_same(
    detector: Detector, runs: Path, tmp_path: Path, torn: bytes
) -> None:
    folder, whole, out = runs / "photos", runs / "whole", tmp_path / "out"
    engine = here(detector, folder)
    shutil.copytree(runs / "killed", out)
    with (out / "rows.jsonl").open("ab") as log:
        log.write(torn)
    asked: list[str] = []

    def noted(names: Sequence[str]) -> Iterator[str]:
        asked.extend(names)
        return engine(names)

    summary = run(noted, detector, folder, out, resume=True)
    assert asked == ["broken.png", "deep/c.png", "e.png", "empty.png", "flat.png"], (
        "a.png and b.png are done; what failed is tried again"
    )
    assert (summary.done, summary.skipped, summary.failed) == (3, 2, 2)
    for name in FILES:
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_process_that_is_killed_loses_nothing_that_it_did(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    collection, out = open_collection(str(folder)), tmp_path / "out"
    script = f"""
import time
from tests.batch.test_run import *
device, folder, out = quick(0), Path({str(folder)!r}), Path({str(out)!r})
whole = plain(device, open_collection(str(folder)).reader, OPTIONS, Limits())

def three(names):
    for done, line in enumerate(whole(names)):
        if done == 3:
            time.sleep(999)  # until the process is killed
        yield line

run(three, device, folder, out)
"""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], cwd=Path(__file__).parents[2]
    )
    log = out / "rows.jsonl"
    until(lambda: log.exists() and len(log.read_bytes().splitlines()) == 4)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert not (out / FILES[0]).exists()
    engine = plain(quick(0), collection.reader, OPTIONS, Limits())
    summary = run(engine, detector, folder, out, resume=True)
    assert summary.skipped >= 2
    assert summary.done + summary.skipped == 5
    run(engine, detector, folder, tmp_path / "whole")
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_failed_is_done_once_it_can_be(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    engine, out = here(detector, folder), tmp_path / "out"
    run(engine, detector, folder, out)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "empty.png").unlink()
    assert run(engine, detector, folder, out, resume=True).done == 1
    assert run(engine, detector, folder, out, resume=True).skipped == 6
    run(engine, detector, folder, tmp_path / "anew")
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "anew" / name).read_bytes()


def test_without_resume_rows_of_an_earlier_run_are_kept(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    engine, out = here(detector, folder), tmp_path / "out"
    run(engine, detector, folder, out)
    before = (out / "rows.jsonl").read_bytes()
    with pytest.raises(BadOption, match="has 7 rows of an earlier run; go on with --resume"):
        run(engine, detector, folder, out)
    assert (out / "rows.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["rows.jsonl", "keypoints.coco.json", "keypoints.parquet"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_file_that_no_run_made_is_never_written_over(
    detector: Detector, folder: Path, tmp_path: Path, name: str, resume: bool
) -> None:
    (tmp_path / name).write_text('{"mine": 1}\n')
    with pytest.raises(BadOption, match="name another folder for --out"):
        run(here(detector, folder), detector, folder, tmp_path, resume=resume)
    assert (tmp_path / name).read_text() == '{"mine": 1}\n'


def test_the_source_is_never_written_over(detector: Detector, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "rows.jsonl").write_text("")
    source = tmp_path / "mine.json"
    source.write_text('{"images": [{"id": 5, "file_name": "a.png"}]}')
    (out / "keypoints.coco.json").symlink_to(source)
    collection = open_collection(str(source))
    with pytest.raises(BadOption, match="is the source"):
        check_outputs(out, collection)
    assert collection.ids == {"a.png": 5}


def test_a_photograph_that_was_replaced_is_looked_at_anew_when_resumed(
    detector: Detector, tmp_path: Path
) -> None:
    monday, tuesday, out = (tmp_path / name for name in ("monday", "tuesday", "out"))
    for place, size in ((monday, 90), (tuesday, 91)):
        place.mkdir()
        (place / "IMG_1.png").write_bytes(picture(size))
    run(here(detector, monday), detector, monday, out)
    again = run(here(detector, monday), detector, monday, out, resume=True)
    assert (again.done, again.skipped) == (0, 1)
    other = run(here(detector, tuesday), detector, tuesday, out, resume=True)
    assert (other.done, other.skipped) == (1, 0)
    (monday / "IMG_1.png").write_bytes(picture(92))
    assert run(here(detector, monday), detector, monday, out, resume=True).done == 1
    coco = json.loads((out / "keypoints.coco.json").read_text())
    assert [image["width"] for image in coco["images"]] == [92]


def test_other_options_and_a_second_run_are_refused(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    engine, out = here(detector, folder), tmp_path / "out"
    run(engine, detector, folder, out)
    with pytest.raises(BadOption, match="other options"):
        run(engine, detector, folder, out, resume=True, options=choose(seed=5))

    def second(lines: Iterable[str], total: int) -> Iterable[str]:
        with pytest.raises(BadOption, match="being written by another run"):
            run(engine, detector, folder, tmp_path / "other")
        return lines

    run_batch(
        engine,
        detector.model,
        OPTIONS,
        open_collection(str(folder)),
        tmp_path / "other",
        resume=False,
        progress=second,
    )


def test_rows_that_an_engine_loses_are_missed(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    engine = here(detector, folder)
    with pytest.raises(
        WeakpointsError, match=r"1 photographs did not come back, flat\.png is the first"
    ):
        run(lambda names: engine(names[:-1]), detector, folder, tmp_path / "out")


def test_a_lost_device_ends_the_run_and_too_little_memory_is_a_row(detector: Detector) -> None:
    class Failing(Detector):
        def locate(
            self, image: np.ndarray, options: Options, progress: Progress = no_progress
        ) -> Localization:
            raise (DeviceLost if image.shape[1] == 70 else OutOfMemory)("of no use")

    failing = Failing(detector.occluder, detector.model, detector.input)
    assert json.loads(located(failing, "a.png", np.zeros((60, 60, 3), np.uint8), OPTIONS)) == {
        "file_name": "a.png",
        "error": "of no use",
    }
    with pytest.raises(DeviceLost):
        located(failing, "a.png", np.zeros((60, 70, 3), np.uint8), OPTIONS)


def test_whatever_a_name_is_it_has_a_record(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    names = ["a.png", "gone.png", "a\0.png", "s3://bucket/a.png", "nothing://a", "http://[::1", "~"]
    os.mkfifo(folder / "pipe.png")
    (folder / "list.txt").write_text("\n".join([*names, "pipe.png"]))
    (folder / os.fsdecode(b"caf\xe9.png")).touch()
    for source, failed in ((folder / "list.txt", 7), (folder, 4)):
        engine = here(detector, source)
        out = tmp_path / source.name / "out"
        summary = run(engine, detector, source, out)
        coco = json.loads((out / FILES[0]).read_text())
        assert (len(coco["errors"]), summary.failed) == (failed, failed)
        assert all(each["error"] for each in coco["errors"])
        assert coco["images"][0]["file_name"] == "a.png"
    assert summary.left_out == 1
    assert {each["file_name"] for each in coco["errors"]} >= {"pipe.png", r"caf\xe9.png"}


def test_an_output_that_fails_is_one_sentence_and_the_run_goes_on_where_it_was(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    engine, out = here(detector, folder), tmp_path / "out"
    (tmp_path / "file").touch()
    with pytest.raises(WeakpointsError, match=r"can't be written: (File exists|Not a directory)"):
        run(engine, detector, folder, tmp_path / "file")
    out.mkdir()
    (out / (FILES[0] + ".partial")).mkdir()
    with pytest.raises(WeakpointsError, match=r"can't be written: Is a directory; .* --resume"):
        run(engine, detector, folder, out)
    (out / (FILES[0] + ".partial")).rmdir()
    assert run(engine, detector, folder, out, resume=True).skipped == 5


def test_rows_behind_one_that_somebody_broke_are_kept(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(here(detector, folder), detector, folder, out)
    lines = (out / LOG).read_bytes().splitlines(keepends=True)
    broken = b"".join([lines[0], b"edited\n", *lines[2:]])
    (out / LOG).write_bytes(broken)
    with pytest.raises(BadOption, match=r"line 2 of .*rows\.jsonl is no row"):
        run(here(detector, folder), detector, folder, out, resume=True)
    assert (out / LOG).read_bytes() == broken


def test_a_drive_without_locks_is_written_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with open_log(tmp_path / LOG, {"version": "1"}, False) as rows:
        assert "a.jpg" not in rows
    assert "can't be locked (No locks available)" in caplog.text
