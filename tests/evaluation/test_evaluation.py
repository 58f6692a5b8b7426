"""The studies as commands, and the pieces of them that have known answers."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.cli import main as cli
from app.cli.studies import ON_PHOTOGRAPHS
from tests.service import encoded
from weakpoints.evaluation import report
from weakpoints.evaluation.deletion import curves, deleted, inserted
from weakpoints.evaluation.montage import HEIGHT, montage
from weakpoints.evaluation.patches import half_area
from weakpoints.evaluation.photographs import read, read_coco
from weakpoints.evaluation.sanity import alike
from weakpoints.method.detector import Detector
from weakpoints.options import choose

QUICK = ["--patch", "14", "--stride", "14"]


def test_discs_are_blurred_one_after_the_other(photograph: np.ndarray, detector: Detector) -> None:
    points = np.array([[50.0, 30], [110, 80]])
    one, two = deleted(photograph, points)
    assert (one != photograph).any()
    assert np.array_equal(one[60:], photograph[60:])
    assert (two[70:90] != photograph[70:90]).any()
    assert np.array_equal(inserted(photograph, points)[1][30, 50], photograph[30, 50])
    nothing = curves(detector, photograph, points[:0], 0)
    assert nothing[0] == 1


def test_half_of_an_even_map_lies_in_half_of_it_and_of_a_peak_in_its_pixel() -> None:
    peak = np.zeros((10, 10))
    assert half_area(peak) == 0.5
    peak[3, 3] = 1
    assert half_area(peak) == 0.01
    assert half_area(np.ones((10, 10))) == pytest.approx(0.5, abs=0.02)


def test_nothing_is_more_like_a_localization_than_itself(
    detector: Detector, photograph: np.ndarray
) -> None:
    found = detector.locate(photograph, choose(patch=14, stride=14))
    assert alike(found, found) == pytest.approx(
        {"coarse": 1, "fine": 1, "fused": 1, "keypoints": 1}
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> None:
    monkeypatch.setattr("app.loading.loaded", lambda *args: detector)
    monkeypatch.setattr(
        "weakpoints.evaluation.matching.RESAMPLES", 100
    )  # intervals have no need of more


@pytest.mark.usefixtures("toy")
def test_landmarks_prints_ours_and_every_baseline_by_alpha(
    annotated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "evaluate",
        "landmarks",
        "--annotations",
        str(annotated / "coco.json"),
        "--images",
        str(annotated),
        *QUICK,
    ]
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["photographs"], found["landmarks"]) == (2, 4)
    for name in ("ours", "paper", "random_weights", "random", "grid", "shi_tomasi", "orb", "sift"):
        for each in (found[name], found["whole"][name]):
            assert (
                set(each["recall"])
                == set(each["corrected_recall"])
                == set(each["f1"])
                == {"0.05", "0.1", "0.2"}
            )
            assert each["points_per_image"] >= 0
            low, high = each["interval"]["f1"]["0.1"]
            assert low - 1e-9 <= each["f1"]["0.1"] <= high + 1e-9
    assert cli.main(command) == 0
    assert "whole/ours" in capsys.readouterr().out


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("study", "figure", "methods"),
    [
        ("repeatability", "error_px", ("ours", "sift")),
        ("deletion", "insertion", ("ours", "reversed", "paper", "random")),
        ("sanity", "keypoints", ("top_1", "random_class", "other_colours", "random_points")),
        ("patches", "stable", ("8/8", "16/8", "16/16", "32/16", "16/8+32/16", "16/8, 4 colours")),
    ],
)
def test_each_study_prints_its_figures(
    study: str,
    figure: str,
    methods: tuple[str, ...],
    annotated: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [] if study == "patches" else QUICK
    assert (
        cli.main(
            ["evaluate", study, "--images", str(annotated), "--limit", "1", "--json", *options]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["photographs"] == 1
    for method in methods:
        low, high = found[method]["interval"][figure]
        assert low - 1e-9 <= found[method][figure] <= high + 1e-9
    assert cli.main(["evaluate", study, "--images", str(annotated / "nowhere")]) == 2
    assert cli.main(["evaluate", study, "--images", str(annotated), "--limit", "0"]) == 2


def nothing_left(*args: object) -> None:
    pytest.fail("measured again")


@pytest.mark.usefixtures("toy")
def test_the_report_holds_every_study_and_the_montage_offline_and_measures_nothing_twice(
    annotated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    where = [
        "--annotations",
        str(annotated / "coco.json"),
        "--images",
        str(annotated),
        "--limit",
        "1",
        "--out",
        str(out),
    ]
    assert cli.main(["evaluate", "report", *where, *QUICK]) == 0
    text = Path(capsys.readouterr().out.strip()).read_text()
    for name in ("landmarks", *ON_PHOTOGRAPHS, "montage"):
        assert f"<h2>{name}</h2>" in text
    pictures = text.count("src=")
    assert text.count('src="data:image/png;base64,') == pictures
    assert pictures >= 2 + len(ON_PHOTOGRAPHS), "two montages, and each study's charts"
    assert "http" not in text
    monkeypatch.setattr("weakpoints.evaluation.landmarks._landmarks_row", nothing_left)
    monkeypatch.setattr("weakpoints.evaluation.sanity._sanity_row", nothing_left)
    assert cli.main(["evaluate", "report", *where, *QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"landmarks", *ON_PHOTOGRAPHS}
    with pytest.raises(pytest.fail.Exception):
        cli.main(["evaluate", "report", *where, *QUICK, "--seed", "5"])


@pytest.mark.usefixtures("toy")
def test_an_interrupted_study_goes_on_where_it_stopped(
    annotated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = tmp_path / "rows"
    command = ["evaluate", "deletion", "--images", str(annotated), "--json", *QUICK]
    assert cli.main([*command, "--resume", str(rows), "--html", str(tmp_path / "page.html")]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert "<h2>deletion</h2>" in (tmp_path / "page.html").read_text()
    (file,) = rows.iterdir()
    kept = file.read_text()
    assert kept.count("\n") == 2
    file.write_text(kept[: kept.index("\n") + 30])  # stopped while the second row was written
    asked = []
    monkeypatch.setattr(
        "weakpoints.evaluation.deletion.read", lambda path: asked.append(path.name) or read(path)
    )
    assert cli.main([*command, "--resume", str(rows)]) == 0
    assert json.loads(capsys.readouterr().out) == whole
    assert asked == ["b.png"]
    assert file.read_text() == kept


@pytest.mark.usefixtures("toy")
def test_several_annotation_files_are_one_study_with_figures_by_set_and_class(
    annotated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = json.loads((annotated / "coco.json").read_text())
    coco["categories"][0]["name"] = "dog"
    coco["annotations"] = coco["annotations"][:1]
    coco["annotations"][0]["bbox"] = [40, 20, 90, 90]
    (annotated / "dogs.json").write_text(json.dumps(coco))
    where = [["--annotations", str(annotated / name)] for name in ("coco.json", "dogs.json")]
    words = [*where[0], *where[1], "--images", str(annotated)]
    assert cli.main(["evaluate", "landmarks", *words, *QUICK]) != 0
    assert "2 annotation files and 1 folders" in capsys.readouterr().err
    assert (
        cli.main(["evaluate", "landmarks", *words, "--images", str(annotated), *QUICK, "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["photographs"] == 3
    sets, classes = (
        {name: part["photographs"] for name, part in found[by].items()}
        for by in ("by_set", "by_class")
    )
    assert sets == {f"{annotated.name}/coco": 2, f"{annotated.name}/dogs": 1}
    assert classes == {"cat": 2, "dog": 1}
    cats = found["by_class"]["cat"]["whole"]
    difference = cats["ours_less"]["sift"]["0.1"]["mean"]
    assert difference == pytest.approx(cats["f1"]["ours"]["0.1"] - cats["f1"]["sift"]["0.1"])
    first, second = (found["differences"]["boxed"][a][b]["0.1"] for a, b in CROSSED)
    assert first["mean"] == pytest.approx(-second["mean"])
    assert first["interval"][0] <= first["mean"] <= first["interval"][1]


CROSSED = (("ours", "corners"), ("corners", "ours"))


@pytest.mark.usefixtures("toy")
def test_pairs_print_the_share_of_the_keypoints(
    tmp_path: Path, photograph: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ant", "0001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(encoded(photograph))
    command = ["evaluate", "pairs", "--images", str(tmp_path), "--limit", "2", *QUICK]
    assert cli.main([*command, "--json"]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["keypoint_share"] <= 1
    assert cli.main(command) == 0
    assert "keypoint_share" in capsys.readouterr().out


@pytest.mark.usefixtures("toy")
def test_networks_are_compared_by_their_landmarks(
    annotated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--annotations", str(annotated / "coco.json"), "--images", str(annotated), *QUICK]
    assert (
        cli.main(["evaluate", "networks", *where, "--json", "--html", str(annotated / "page.html")])
        == 0
    )
    assert "<h2>networks</h2>" in (annotated / "page.html").read_text()
    found = json.loads(capsys.readouterr().out)
    (name,) = set(found) - {"photographs"}
    assert set(found[name]["f1"]) == set(found[name]["random_weights_f1"]) == {"0.05", "0.1", "0.2"}
    assert found[name]["seconds"] > 0


def test_a_montage_has_six_pictures_of_one_height(
    annotated: Path, detector: Detector, photograph: np.ndarray
) -> None:
    row = montage(
        detector, read_coco(annotated / "coco.json", annotated)[0], choose(patch=14, stride=14)
    )
    picture = cv2.imdecode(np.frombuffer(row["png"], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    width = round(photograph.shape[1] * HEIGHT / photograph.shape[0])
    assert picture.shape == (HEIGHT, 6 * width, 3)
    first, last = picture[:, :width].astype(int), picture[:, -width:].astype(int)
    assert (np.abs(last - first).max(2) > 40).mean() < 0.1, "the photograph and its crosses"
    x, y = np.array([50, 30]) * width // photograph.shape[1]
    assert last[y, x].tolist() == pytest.approx([255, 220, 0], abs=60)


def test_a_bar_is_as_long_as_its_figure_and_its_whisker_as_its_interval() -> None:
    pytest.importorskip("matplotlib")
    ours = {
        "f1": {"0.05": 0.9, "0.1": 0.5},
        "interval": {"f1": {"0.05": (0.8, 1), "0.1": (0.25, 1)}},
    }
    sift = {"f1": 0.125, "keypoints": None, "interval": {"f1": (0, 0.25), "keypoints": None}}
    assert report._bars("f1", {"ours": ours, "sift": sift, "": {"": 2}}) == [
        ("ours", 0.5, 0.25, 0.5),
        ("sift", 0.125, 0.125, 0.125),
    ]
    assert report._bars("keypoints", {"sift": sift}) == []
    text = report.page(
        "a <title>", {"landmarks": ("why?", {"photographs": 2, "ours": ours, "sift": sift})}, []
    )
    assert text.count("data:image/png") == 1
    assert "a &lt;title&gt;" in text
    assert "f1 0.900/0.500" in text
    assert "montage" not in text


def test_a_page_with_charts_says_what_to_install_before_anything_is_measured(
    annotated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("app.cli.evaluate.measure", nothing_left)
    command = ["evaluate", "deletion", "--images", str(annotated), "--html", str(annotated / "a")]
    assert cli.main(command) == 2
    assert "pip install 'weakpoints[evaluate]'" in capsys.readouterr().err
    where = ["--annotations", str(annotated / "coco.json"), "--images", str(annotated)]
    assert cli.main(["evaluate", "report", *where, "--out", str(annotated / "out")]) == 1
    assert "pip install 'weakpoints[evaluate]'" in capsys.readouterr().err
