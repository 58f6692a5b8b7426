import json
import os
from pathlib import Path

import fsspec
import pytest

from app.batch.collection import left_out_by_kind, open_collection
from weakpoints.errors import BadOption


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


def test_a_byte_order_mark_is_no_part_of_a_name(folder: Path) -> None:
    coco = json.dumps({"images": [{"file_name": "a.JPG"}, {"file_name": "b.png"}]})
    for encoding in ("utf-8-sig", "utf-16"):
        (folder / "list.txt").write_bytes("a.JPG\r\nb.png\r\n".encode(encoding))
        (folder / "coco.json").write_bytes(coco.encode(encoding))
        for name in ("list.txt", "coco.json"):
            assert open_collection(str(folder / name)).names == ("a.JPG", "b.png")


@pytest.mark.parametrize(
    "name", ["shoot::1", "q[1]", "10:30", "a*b", "simplecache::x", "~", "#?%20"]
)
def test_a_path_may_have_anything_in_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "a::[1].jpg").write_bytes(b"here")
    (tmp_path / name / "list.TXT").write_text("a::[1].jpg\n")
    for source in (tmp_path / name, tmp_path / name / "list.TXT"):
        found = open_collection(str(source))
        assert found.names == ("a::[1].jpg",)
        assert found.reader.read("a::[1].jpg", 100) == b"here"


def test_what_is_left_out_of_a_folder_is_counted_by_its_kind(tmp_path: Path) -> None:
    photographs = ("a.jpg", "b.jfif", "c.jpe", "d.JPEG", "i.HEIC", "j.tif")
    for name in (*photographs, "e", "f.svg", "g.SVG", "h.txt"):
        (tmp_path / name).touch()
    found = open_collection(str(tmp_path))
    assert found.names == photographs
    assert found.left_out == {"without suffix": 1, ".svg": 2, ".txt": 1}
    assert left_out_by_kind(found.left_out).startswith(
        "; left out: 2 .svg, 1 .txt, 1 without suffix"
    )
    assert left_out_by_kind({}) == ""


def test_a_place_without_photographs_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "a.svg").touch()
    (tmp_path / "list.txt").write_text("\n\n")
    with pytest.raises(
        BadOption, match=r"there is no photograph in .*; left out: 1 \.svg, 1 \.txt"
    ):
        open_collection(str(tmp_path))
    with pytest.raises(BadOption, match="there is no photograph in"):
        open_collection(str(tmp_path / "list.txt"))


def test_a_name_that_is_not_utf8_is_kept_with_its_error(tmp_path: Path) -> None:
    for name in (b"caf\xe9.jpg", b"ok.jpg", "写真.jpg".encode()):
        (tmp_path / os.fsdecode(name)).touch()
    found = open_collection(str(tmp_path))
    assert found.names == (r"caf\xe9.jpg", "ok.jpg", "写真.jpg")
    assert set(found.refused) == {r"caf\xe9.jpg"}
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.jpg\nok.jpg\n")
    assert open_collection(str(tmp_path / "list.txt")).names == (r"caf\xe9.jpg", "ok.jpg")


OUTSIDE = ["../a.jpg", "/etc/a.jpg", "memory://x/a.jpg", "file:///etc/a.jpg", "b/../../a.jpg"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_coco_file_names_what_lies_outside_only_if_it_may(tmp_path: Path, name: str) -> None:
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps({"images": [{"file_name": name}, {"file_name": "b/../c.jpg"}]}))
    assert set(open_collection(str(coco)).refused) == {name}
    assert not open_collection(str(coco), outside=True).refused


def test_a_pipe_is_not_waited_for_and_a_folder_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "deep.jpg").mkdir()
    (tmp_path / "away.jpg").symlink_to(tmp_path / "nowhere")
    reader = open_collection(str(tmp_path)).reader
    for name in ("pipe.jpg", "deep.jpg", "away.jpg", "gone.jpg"):
        with pytest.raises(OSError, match=r"it is no file|No such file"):
            reader.read(name, 100)


def test_one_file_in_two_spellings_is_one_photograph(folder: Path) -> None:
    spellings = ("a.png", "./a.png", "deep/../a.png", str(folder / "a.png"), "b.png")
    (folder / "list.txt").write_text("\n".join(spellings))
    assert open_collection(str(folder / "list.txt")).names == ("a.png", "b.png")


def test_links_to_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for place in (photos, elsewhere):
        place.mkdir()
        (place / f"of_{place.name}.png").write_bytes(b"")
    (photos / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(photos)
    names = open_collection(str(photos)).names
    assert names == ("linked/of_elsewhere.png", "of_photos.png")


def test_what_systems_hide_is_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", ".b/c.png", "__MACOSX/d.png", "@eaDir/e.png", "f/.g.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    collection = open_collection(str(tmp_path))
    assert collection.names == ("a.png",)
    assert collection.left_out == {"hidden": 5}


@pytest.mark.parametrize("ids", [{"b.png": 397133, "a.png": 7}, {"b.png": 1, "a.png": 2}])
def test_a_coco_file_keeps_the_ids_of_its_images(folder: Path, ids: dict[str, int]) -> None:
    images = [{"id": number, "file_name": name} for name, number in ids.items()]
    (folder / "in.json").write_text(json.dumps({"images": images}))
    assert open_collection(str(folder / "in.json")).ids == ids


@pytest.mark.parametrize("ids", [(1, 1), ("x", 2), (None, 2), (True, 2)])
def test_ids_that_are_not_whole_numbers_each_once_are_made_anew(
    folder: Path, ids: tuple[object, object]
) -> None:
    images = [{"id": i, "file_name": name} for i, name in zip(ids, ("a.png", "b.png"), strict=True)]
    (folder / "in.json").write_text(json.dumps({"images": images}))
    assert open_collection(str(folder / "in.json")).ids == {}
