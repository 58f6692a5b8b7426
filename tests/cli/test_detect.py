"""Where overlays go."""

from pathlib import Path

from app.cli.detect import overlay_paths


def test_overlays_have_a_name_each(tmp_path: Path) -> None:
    photographs = ["a.jpg", "a.png", "s/a.jpg", "s/A.JPG", "b.jpg", "a.jpg"]
    found = list(overlay_paths([Path(each) for each in photographs], tmp_path))
    assert [path.name for path in found] == [
        "a.png",
        "a.png.png",
        "a.jpg.png",
        "A.JPG.2.png",
        "b.png",
        "a.jpg.3.png",
    ]
    assert len({path.name.casefold() for path in found}) == len(photographs)


def test_no_photograph_is_written_over(tmp_path: Path) -> None:
    photographs = [tmp_path / "a.png", tmp_path / "a.png.png"]
    assert not set(overlay_paths(photographs, tmp_path)) & set(photographs)
