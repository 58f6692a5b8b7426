import json
from pathlib import Path

import fsspec
import pytest

from app.batch.collection import open_collection
from app.errors import BadOption


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "deep/c::d #1%.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_a_folder_is_its_photographs_and_those_below_it(folder: Path) -> None:
    for source in (str(folder), f"{folder}/", f"file://{folder}"):
        found = open_collection(source)
        assert found.names == ("a.JPG", "b.png", "deep/c::d #1%.webp")
        assert [found.reader.read(name, 100) for name in found.names] == [
            name.encode() for name in found.names
        ]


def test_a_list_names_files_beside_it_elsewhere_and_by_url(folder: Path, tmp_path: Path) -> None:
    elsewhere = folder / "deep" / "c::d #1%.webp"
    with fsspec.open("memory://bucket/far.png", "wb") as file:
        file.write(b"far")
    (folder / "list.txt").write_text(f"b.png\n\n{elsewhere}\nmemory://bucket/far.png\nb.png\n")
    found = open_collection(str(folder / "list.txt"))
    assert found.names == tuple(sorted(["b.png", str(elsewhere), "memory://bucket/far.png"]))
    assert {found.reader.read(name, 100) for name in found.names} == {
        b"b.png",
        b"deep/c::d #1%.webp",
        b"far",
    }


def test_a_coco_file_names_its_images(folder: Path) -> None:
    (folder / "coco.json").write_text(
        json.dumps({"images": [{"file_name": "b.png"}, {"file_name": "gone.png"}]})
    )
    found = open_collection(str(folder / "coco.json"))
    assert found.names == ("b.png", "gone.png")
    with pytest.raises(FileNotFoundError):
        found.reader.read("gone.png", 100)


def test_object_storage_is_read_through_fsspec() -> None:
    with fsspec.open("memory://photos/deep/a.png", "wb") as file:
        file.write(b"x" * 1000)
    found = open_collection("memory://photos")
    assert found.names == ("deep/a.png",)
    assert len(found.reader.read("deep/a.png", 10)) == 11, "no more than tells that it is too much"


@pytest.mark.parametrize(
    "source", ["nowhere", "notes.txt.gz", "empty.json", "nothing://x", "b.png"]
)
def test_what_is_no_collection_is_said(folder: Path, source: str) -> None:
    (folder / "empty.json").write_text("{}")
    with pytest.raises(BadOption, match="is not a folder, a list of files or a COCO file"):
        open_collection(source if "://" in source else str(folder / source))
