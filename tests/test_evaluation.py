"""Each figure on made cases whose answer is known."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from app import cli
from app.errors import BadOption
from app.evaluation.agreement import Placed, chance, figures, in_boxes, near_a_landmark, table
from app.evaluation.baselines import CORNERS, Points, grid_points, layers, random_points, random_weights, suppress
from app.evaluation.commands import STUDIES
from app.evaluation.deletion import curves, deleted, inserted
from app.evaluation.fg3dcar import read_fg3dcar
from app.evaluation.matching import (
    average_precision,
    calibration,
    calibration_error,
    corrected,
    interval,
    match,
    one_to_one,
    ranked,
    resampled,
    summary,
)
from app.evaluation.montage import HEIGHT, montage
from app.evaluation.patches import half_area
from app.evaluation.photographs import Landmarked, read, read_coco, sample
from app.evaluation.repeatability import found_again, repeated
from app.evaluation.sanity import alike
from app.evaluation.warps import warps
from app.network import Conv, network_of
from app.options import choose
from app.pipeline import Detector
from tests.conftest import toy_resnet
from tests.oracle import most_pairs
from tests.service import encoded

MARKS = np.array([[10.0, 10], [50, 10], [90, 40]])
QUICK = ["--patch", "14", "--stride", "14"]


def landmarked(marks: np.ndarray = MARKS, names: tuple[str, ...] = ("left_eye", "right_eye", "nose")) -> Landmarked:
    return Landmarked(Path("a.png"), "cat", (0, 0, 100, 50), marks, names)


def test_perfect_points_score_one_and_points_off_by_a_known_distance_score_from_that_radius_on() -> None:
    assert match(MARKS, MARKS, 0.0).f1 == 1
    assert match(np.add(MARKS, (3, 4)), MARKS, 4.99).recall == 0
    hit = match(np.add(MARKS, (3, 4)), MARKS, 5.0)
    assert (hit.recall, hit.precision, hit.matched_recall, hit.f1) == (1, 1, 1, 1)


def test_one_point_may_find_two_landmarks_for_the_paper_but_not_one_to_one() -> None:
    found = match(np.array([[30.0, 10]]), MARKS, 20)
    assert (found.recall, found.precision, found.matched_recall, found.f1) == (2 / 3, 1, 1 / 3, 0.5)
    nothing = match(np.zeros((0, 2)), MARKS, 20)
    assert (nothing.recall, nothing.precision, nothing.f1) == (0, 0, 0)


@given(st.integers(0, 2**31), st.integers(0, 5), st.integers(1, 5), st.floats(0.05, 0.8))
def test_no_matching_has_more_pairs(seed: int, points: int, landmarks: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((points, 2)), rng.random((landmarks, 2))
    rows, columns = one_to_one(a, b, radius)
    assert len(rows) == len(set(rows)) == len(set(columns)) == most_pairs(np.linalg.norm(a[:, None] - b, axis=2) <= radius)
    assert (np.linalg.norm(a[rows] - b[columns], axis=1) <= radius).all()


def test_average_precision_is_the_area_under_the_envelope_over_all_photographs() -> None:
    right, wrong = MARKS[:1], np.array([[70.0, 70]])
    one = ranked(np.concatenate([right, wrong]), np.array([0.9, 0.8]), MARKS[:1], 1.0)
    two = ranked(np.concatenate([wrong, right]), np.array([0.7, 0.6]), MARKS[:1], 1.0)
    assert average_precision([one]) == 1
    assert average_precision([one, two]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    twice = ranked(np.concatenate([right, right]), np.array([0.8, 0.9]), MARKS[:1], 1.0)
    assert twice.hits.tolist() == [False, True], "the weaker is a miss, behind full recall"
    assert average_precision([twice]) == 1
    assert average_precision([ranked(wrong[:0], np.zeros(0), MARKS, 1.0)]) == 0


def test_chance_correction_and_intervals() -> None:
    assert (corrected(0.5, 0.5), corrected(1, 0.5), corrected(0.25, 0.5), corrected(1, 1)) == (0, 1, -0.5, 0)
    rows = np.random.default_rng(1).normal(3, 1, (100, 1))
    low, high = interval(rows)
    assert low < rows.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * rows.std() / 10, rel=0.2)
    assert resampled(100, lambda drawn: float(rows[drawn].mean())) == (low, high)
    assert summary([{"a": 1.0}, {"a": 3.0}]) == {"a": 2, "interval": {"a": (1, 3)}}


NOTES = {  # how often K random points find a landmark: K -> at alpha 0.2 and w/h 1, 1.5, 2, then at 0.1 and 0.05 and w/h 2
    1: (0.107, 0.145, 0.191, 0.053, 0.015),
    5: (0.414, 0.545, 0.631, 0.248, 0.067),
    10: (0.671, 0.788, 0.855, 0.432, 0.137),
    20: (0.876, 0.944, 0.974, 0.673, 0.261),
    40: (0.982, 0.995, 0.999, 0.879, 0.449),
}


@pytest.mark.parametrize(("aspect", "alpha", "column"), [(1, 0.2, 0), (1.5, 0.2, 1), (2, 0.2, 2), (2, 0.1, 3), (2, 0.05, 4)])
@pytest.mark.parametrize("points", NOTES)
def test_random_points_find_what_the_notes_computed(points: int, aspect: float, alpha: float, column: int) -> None:
    box = (0.0, 0.0, 100.0 * aspect, 100.0)
    marks = np.random.default_rng(3).random((2000, 2)) * box[2:] - 0.5
    photograph = Landmarked(Path(), "car", box, marks, ("x",) * len(marks))
    assert chance(photograph, box, points, alpha).mean() == pytest.approx(NOTES[points][column], abs=0.03)


def test_a_grid_is_even_and_lies_in_its_box() -> None:
    for count in (0, 1, 5, 12, 33):
        points = grid_points((10, 20, 80, 40), count)
        assert len(points.xy) == count == len(points.within((10, 20, 80, 40)).xy)
    np.testing.assert_allclose(grid_points((0, 0, 40, 20), 2).xy, [[9.5, 9.5], [29.5, 9.5]])
    assert len(random_points((5, 5, 10, 10), 50, np.random.default_rng(0)).within((5, 5, 10, 10)).xy) == 50


@pytest.mark.parametrize("name", CORNERS)
def test_corner_detectors_come_strongest_first_and_spread(name: str, photograph: np.ndarray) -> None:
    found = CORNERS[name](photograph, 6)
    assert len(found.xy)
    assert (np.diff(found.score) <= 0).all()
    apart = np.abs(found.xy[:, None] - found.xy).max(2) + 99 * np.eye(len(found.xy))
    assert apart.min() > 6
    assert not len(CORNERS[name](np.full_like(photograph, 90), 6).xy)


def test_suppression_keeps_the_stronger_of_two() -> None:
    kept = suppress(np.array([[0.0, 0], [3, 0], [9, 0]]), np.array([1.0, 2, 0]), 4)
    assert kept.xy.tolist() == [[3, 0], [9, 0]]


def test_weights_are_drawn_anew_from_the_top_down_only() -> None:
    network = network_of(toy_resnet())
    depth = layers(network.rows)
    assert layers(random_weights(network, 2).rows) == depth
    same = random_weights(network, 1)
    assert all(a is b or a == b for a, b in zip(network.rows[:1], same.rows[:1], strict=True))
    assert not same.rows[-1].weight.equal(network.rows[-1].weight)  # type: ignore[union-attr]
    whole = random_weights(network)
    assert isinstance(whole.rows[0], Conv)
    assert not whole.rows[0].weight.equal(network.rows[0].weight)  # type: ignore[union-attr]


BOX = (0.0, 0.0, 100.0, 50.0)


def placed(xy: np.ndarray, score: np.ndarray | None = None) -> Placed:
    return Placed(landmarked(), BOX, (Points(xy, np.ones(len(xy)) if score is None else score),))


def test_the_table_takes_left_and_right_as_one_and_shows_what_chance_gives() -> None:
    lines = {line["landmark"]: line for line in table([placed(MARKS[:1])])}
    assert (lines["eye"]["found"], lines["eye"]["seen"], lines["nose"]["found"]) == (0.5, 2, 0)
    assert 0 < lines["eye"]["random"] < 0.1
    assert lines["nose"]["interval"] == (0, 0)


def test_perfect_points_have_perfect_figures_and_random_ones_what_chance_gives() -> None:
    perfect = figures([placed(MARKS)] * 2)
    for name in ("recall", "precision", "matched_recall", "f1", "average_precision"):
        assert perfect[name] == {"0.05": 1, "0.1": 1, "0.2": 1}
        assert perfect["interval"][name]["0.1"] == (1, 1)
    assert perfect["corrected_recall"]["0.05"] == 1
    rng = np.random.default_rng(5)
    lucky = figures([Placed(landmarked(), BOX, tuple(random_points(BOX, 6, rng) for _ in range(100)))] * 2)
    assert lucky["corrected_recall"]["0.1"] == pytest.approx(0, abs=0.06)
    assert lucky["points_per_image"] == 6


def test_points_inside_the_boxes_are_counted_beside_the_boxes_share_of_the_area() -> None:
    each = Placed(landmarked(), (0.0, 0.0, 100.0, 100.0), (Points(np.array([[50.0, 25], [50, 75], [50, 80], [50, 90]]), np.ones(4)),))
    found = in_boxes([each])
    assert (found["share"], found["area"]) == (0.25, 0.5)


def test_points_that_follow_a_warp_are_repeated_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((20, 2)) * (299, 199)
    for warp in warps(300, 200, rng):
        moved = warp.forward(points)
        detected = moved[((moved >= -0.5) & (moved <= (299.5, 199.5))).all(1)]
        assert repeated(points, detected, warp, (200, 300, 3), 20) == pytest.approx((1, 0), abs=1e-9)
        np.testing.assert_allclose(warp.back(warp.forward(points)), points)
        assert repeated(points, warp.forward(np.add(points, (0, 40))), warp, (200, 300, 3), 20)[0] < 0.3
    still = warps(300, 200, rng)[-1]
    assert repeated(points, np.add(points, (2, 0)), still, (200, 300, 3), 20) == pytest.approx((1, 2), abs=0.2)
    assert np.isnan(repeated(points[:0], points[:0], still, (200, 300, 3), 20)[0])
    assert repeated(points, points[:0], still, (200, 300, 3), 20)[0] == 0


def test_a_warp_moves_the_picture_as_it_moves_the_points() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    image[58:63, 78:83] = 255
    for warp in warps(160, 120, np.random.default_rng(2)):
        changed = warp(image).sum(2).astype(float)
        assert changed.shape == (120, 160)
        changed = np.where(changed > 150, changed, 0)
        ys, xs = np.mgrid[:120, :160]
        centre = [(changed * xs).sum() / changed.sum(), (changed * ys).sum() / changed.sum()]
        np.testing.assert_allclose(centre, warp.forward(np.array([[80.0, 60.0]]))[0], atol=0.6)


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


def test_nothing_is_more_like_a_localization_than_itself(detector: Detector, photograph: np.ndarray) -> None:
    found = detector.locate(photograph, choose(patch=14, stride=14))
    assert alike(found, found) == pytest.approx({"coarse": 1, "fine": 1, "fused": 1, "keypoints": 1})


@pytest.fixture
def annotated(tmp_path: Path, photograph: np.ndarray) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(photograph))
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {"image_id": i, "category_id": 7, "bbox": [40, 20, 100, 90], "keypoints": [50.5, 30.5, 2, 0, 0, 0, 110.5, 80.5, 1]}
            for i in (1, 2)
        ],
        "categories": [{"id": 7, "name": "cat", "keypoints": ["left_ear", "tail", "right_ear"]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    return tmp_path


def test_coco_is_read_in_our_pixels_with_what_is_visible(annotated: Path) -> None:
    first = read_coco(annotated / "coco.json", annotated)[0]
    assert (first.names, first.group, first.size) == (("left_ear", "right_ear"), "cat", 100)
    assert first.landmarks.tolist() == [[50, 30], [110, 80]]
    assert read_coco(annotated / "coco.json", annotated, "landmarks")[0].box == (44.5, 25.5, 72, 60)


def test_what_is_not_coco_or_not_there_is_said(annotated: Path) -> None:
    (annotated / "broken.json").write_text('{"images": []}')
    (annotated / "empty.json").write_text('{"images": [], "categories": [], "annotations": []}')
    for name, said in (("broken.json", "can't be read"), ("empty.json", "no visible"), ("absent.json", "can't be read")):
        with pytest.raises(BadOption, match=said):
            read_coco(annotated / name, annotated)
    with pytest.raises(BadOption, match=r"nowhere\.png"):
        read(annotated / "nowhere.png")
    (annotated / "none").mkdir()
    with pytest.raises(BadOption, match="no photograph"):
        sample(annotated / "none", 3)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> None:
    monkeypatch.setattr(cli, "loaded", lambda *args: detector)


@pytest.mark.usefixtures("toy")
def test_landmarks_prints_ours_and_every_baseline_by_alpha(annotated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "landmarks", "--annotations", str(annotated / "coco.json"), "--images", str(annotated), *QUICK]
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["photographs"], found["landmarks"]) == (2, 4)
    for name in ("ours", "paper", "random_weights", "random", "grid", "shi_tomasi", "orb", "sift"):
        for each in (found[name], found["whole"][name]):
            assert set(each["recall"]) == set(each["corrected_recall"]) == set(each["f1"]) == {"0.05", "0.1", "0.2"}
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
    study: str, figure: str, methods: tuple[str, ...], annotated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [] if study == "patches" else QUICK
    assert cli.main(["evaluate", study, "--images", str(annotated), "--limit", "1", "--json", *options]) == 0
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
    annotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    where = ["--annotations", str(annotated / "coco.json"), "--images", str(annotated), "--limit", "1", "--out", str(out)]
    assert cli.main(["evaluate", "report", *where, *QUICK]) == 0
    text = Path(capsys.readouterr().out.strip()).read_text()
    for name in ("landmarks", *STUDIES, "montage"):
        assert f"<h2>{name}</h2>" in text
    assert text.count('src="data:image/png;base64,') == 2 == text.count("src=")
    assert text.count("<svg") >= len(STUDIES)
    assert "http" not in text
    monkeypatch.setattr("app.evaluation.landmarks._measure", nothing_left)
    monkeypatch.setattr("app.evaluation.sanity._measure", nothing_left)
    assert cli.main(["evaluate", "report", *where, *QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"landmarks", *STUDIES}
    with pytest.raises(pytest.fail.Exception):
        cli.main(["evaluate", "report", *where, *QUICK, "--seed", "5"])


@pytest.mark.usefixtures("toy")
def test_an_interrupted_study_goes_on_where_it_stopped(
    annotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
    monkeypatch.setattr("app.evaluation.deletion.read", lambda path: asked.append(path.name) or read(path))
    assert cli.main([*command, "--resume", str(rows)]) == 0
    assert json.loads(capsys.readouterr().out) == whole
    assert asked == ["b.png"]
    assert file.read_text() == kept


def test_fg3dcar_is_read_with_its_boxes_or_by_the_papers_rule(tmp_path: Path) -> None:
    marks = np.array([[11.0, 21], [51, 21], [np.nan, 5], [0, 0], [51, 41]])
    with_box = {"filename": "audi\\a.jpg", "box": {"x": 1.0, "y": 3.0, "w": 60.0, "h": 50.0}, "pts2d": marks.T}
    without = {"filename": "b.jpg", "landmarks": np.c_[marks, [1, 0, 1, 1, 1]]}
    hidden = {"filename": "c.jpg", "landmarks": np.c_[marks, np.zeros(5)]}
    file = tmp_path / "ground_truth.mat"
    savemat(file, {"manualParam": np.array([with_box, without, hidden], object)})
    one, two = read_fg3dcar(file, tmp_path)
    assert (one.path, one.group, one.box) == (tmp_path / "audi" / "a.jpg", "audi", (0, 2, 60, 50))
    assert one.landmarks.tolist() == [[10, 20], [50, 20], [50, 40]]
    assert one.names == ("landmark_01", "landmark_02", "landmark_05")
    assert (two.group, two.landmarks.tolist(), two.box) == ("car", [[10, 20], [50, 40]], (6.5, 18.5, 48, 24))
    assert read_fg3dcar(file, tmp_path, "landmarks")[0].box == two.box
    for broken in ({"manualParam": np.array([{"filename": "a.jpg"}], object)}, {"other": 1}):
        savemat(file, broken)
        with pytest.raises(BadOption, match="can't be read"):
            read_fg3dcar(file, tmp_path)


@pytest.mark.usefixtures("toy")
def test_networks_are_compared_by_their_landmarks(annotated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--annotations", str(annotated / "coco.json"), "--images", str(annotated), *QUICK]
    assert cli.main(["evaluate", "networks", *where, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (name,) = set(found) - {"photographs"}
    assert set(found[name]["f1"]) == set(found[name]["random_weights_f1"]) == {"0.05", "0.1", "0.2"}
    assert found[name]["seconds"] > 0


def test_a_montage_has_six_pictures_of_one_height(annotated: Path, detector: Detector, photograph: np.ndarray) -> None:
    row = montage(detector, read_coco(annotated / "coco.json", annotated)[0], choose(patch=14, stride=14))
    picture = cv2.imdecode(np.frombuffer(row["png"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    width = round(photograph.shape[1] * HEIGHT / photograph.shape[0])
    assert picture.shape == (HEIGHT, 6 * width, 3)
    first, last = picture[:, :width].astype(int), picture[:, -width:].astype(int)
    assert (np.abs(last - first).max(2) > 40).mean() < 0.1, "the photograph and its crosses"
    x, y = np.array([50, 30]) * width // photograph.shape[1]
    assert last[y, x].tolist() == pytest.approx([255, 220, 0], abs=60)


def test_confidence_is_set_against_the_share_that_is_near_a_landmark() -> None:
    pairs = near_a_landmark([placed(np.concatenate([MARKS[:1], MARKS[:1] + 40]), np.array([0.9, 0.1]))])
    assert pairs == [(0.9, True), (0.1, False)]
    low, high = calibration(pairs)
    assert (low["confidence"], low["right"], low["keypoints"]) == (0.1, 0, 1)
    assert (high["confidence"], high["right"]) == (0.9, 1)
    assert calibration_error([low, high]) == pytest.approx(0.1)
    rng = np.random.default_rng(0)
    truth = rng.random(20_000)
    assert calibration_error(calibration(list(zip(truth, rng.random(20_000) < truth, strict=True)))) < 0.015
    assert calibration([]) == []


def test_a_point_is_found_again_where_the_warp_took_it() -> None:
    shift = warps(300, 200, np.random.default_rng(0))[3]
    points = np.array([[50.0, 60], [299, 10], [100, 100]])
    assert found_again(points, np.array([[54.0, 64.0], [200, 20]]), shift, (200, 300)) == [True, None, False]
    assert found_again(points, np.zeros((0, 2)), shift, (200, 300)) == [False, None, False]
