import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage import data

from app.settings import Settings
from tests.service import encoded
from tests.tables import network_of
from tests.toys import LABELS, seeded, toy
from weakpoints.engine.engine import BUDGET, Incremental
from weakpoints.errors import NotFinite, WeightsError
from weakpoints.images.decode import decode
from weakpoints.loading import load_detector
from weakpoints.method.detector import Detector
from weakpoints.method.frame import frame_of
from weakpoints.method.localization import Localization
from weakpoints.method.peaks import RARITY_WEIGHT, find_peaks, scene_of
from weakpoints.method.stages import NetworkPass
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.modules.small_vgg import narrow_vgg16
from weakpoints.networks.network import Trace
from weakpoints.options import Limits, choose, resolve

QUICK = {"patch": 8, "stride": 8}
TOY = toy()


def same(a: Localization, b: Localization) -> bool:
    maps = zip(dataclasses.astuple(a.maps), dataclasses.astuple(b.maps), strict=True)
    return (
        a.keypoints == b.keypoints
        and a.top == b.top
        and all(x.tobytes() == y.tobytes() for x, y in maps)
    )


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_same_photograph_gives_the_same_bytes_from_any_thread(
    detector: Detector, photograph: np.ndarray, preset: str
) -> None:
    options = choose(preset, **QUICK)
    expected = detector.locate(photograph, options)
    with ThreadPoolExecutor(4) as pool:
        assert all(
            pool.map(lambda _: same(detector.locate(photograph, options), expected), range(8))
        )
    assert expected.keypoints


def test_another_seed_gives_other_colours(detector: Detector, photograph: np.ndarray) -> None:
    one, two = (
        detector.locate(photograph, choose(seed=seed, **QUICK)).maps.coarse for seed in (1, 2)
    )
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
def test_keypoints_lie_in_the_region_that_was_asked_for(
    detector: Detector, photograph: np.ndarray, fit: str
) -> None:
    found = detector.locate(photograph, choose(fit=fit, roi=(40, 20, 100, 50), keep=1.0, **QUICK))
    reach = 3 * max(found.frame.scale)
    assert found.keypoints
    assert all(
        40 - reach <= p.x <= 140 + reach and 20 - reach <= p.y <= 70 + reach
        for p in found.keypoints
    )


def test_confidence_falls_along_the_list_and_is_what_the_fused_map_says(
    detector: Detector, photograph: np.ndarray
) -> None:
    found = detector.locate(photograph, choose(**QUICK))
    confidences = [p.confidence for p in found.keypoints]
    assert confidences == sorted(confidences, reverse=True)
    peaks = detector.locate(photograph, choose("paper", **QUICK))
    assert peaks.keypoints[0].confidence == pytest.approx(np.exp(peaks.maps.fused.max()))
    assert all(p.log_likelihood <= found.maps.fused.max() for p in found.keypoints)
    assert all(p.confidence == pytest.approx(np.exp(p.log_likelihood)) for p in found.keypoints)
    assert all((p.covariance is not None) == p.refined for p in found.keypoints)


def test_a_keypoint_says_what_the_boxes_over_it_cost_the_class(
    detector: Detector, photograph: np.ndarray
) -> None:
    found = detector.locate(photograph, choose(patch=28, stride=14, colours=2, keep=1.0))
    x, y, w, h = found.boxes.T
    drops = found.explained[0].drops
    assert len(found.keypoints) > 5
    for point in found.keypoints:
        column, row = found.frame.to_network(np.array([[point.x, point.y]]))[0]
        over = (x <= column) & (column < x + w) & (y <= row) & (row < y + h)
        near = np.abs(np.array([column, row]) % 14 - 7).max() < 5  # no box ends beside it
        if near:
            assert point.drop == pytest.approx(drops[over].mean())
        assert point.drop_error is not None
        assert point.drop_error >= 0
    alone = detector.locate(photograph, choose(patch=56, stride=56, colours=1, keep=1.0))
    assert {point.drop_error for point in alone.keypoints} == {None}, "one box, once"


def test_the_class_is_found_unless_the_caller_names_one(
    detector: Detector, photograph: np.ndarray
) -> None:
    found = detector.locate(photograph, choose(**QUICK))
    assert found.target == found.top[0]
    every = detector.locate(photograph, choose(top_classes=6, **QUICK)).top
    assert math.fsum(score.probability for score in every) == pytest.approx(1)
    assert found.top[0].probability == pytest.approx(detector.classify(photograph).max())
    for wanted in ("eel", 4):
        other = detector.locate(photograph, choose(target_class=wanted, **QUICK))
        assert (other.target.class_id, other.target.label, other.options.target_class) == (
            4,
            "eel",
            4,
        )


def test_more_boxes_or_larger_ones_are_expensive_and_the_default_is_not(detector: Detector) -> None:
    def expensive(**given: object) -> bool:
        return detector.expensive(detector.resolved(choose(**given)))

    default = detector.resolved(choose())
    assert not expensive()
    assert not expensive(patch=default.patch * 2, stride=default.stride * 2)
    assert expensive(patch=default.patch * 2)
    assert expensive(stride=1)
    assert expensive(colours=3)
    few = dataclasses.replace(detector, max_passes=1)
    assert not few.expensive(few.resolved(choose(patch=detector.model.side, stride=1, colours=1)))


def test_the_paper_preset_asks_for_729_positions_by_itself(
    detector: Detector, photograph: np.ndarray
) -> None:
    found = detector.locate(photograph, choose("paper"))
    assert (found.options.patch, found.options.stride, found.options.colours) == (4, 2, 1)
    assert not found.low_evidence


def test_a_uniform_grey_picture_still_answers(detector: Detector) -> None:
    found = detector.locate(np.full((60, 60, 3), 128, np.uint8), choose(**QUICK))
    assert all(0 <= p.x <= 59 and 0 <= p.y <= 59 for p in found.keypoints)
    assert not any(p.refined for p in found.keypoints)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_finds_the_same_keypoints_as_the_cpu() -> None:
    cpu, gpu = (
        load_detector(Settings().manifest, "bundled", device).locate(
            data.astronaut(), choose(**QUICK)
        )
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(
        [(p.x, p.y) for p in gpu.keypoints[:10]], [(p.x, p.y) for p in cpu.keypoints[:10]], atol=0.5
    )


def test_a_memory_that_holds_no_box_stops_the_start() -> None:
    with pytest.raises(
        WeightsError,
        match=r"network 'bundled' does not fit into its memory: "
        r"\d+ bytes are needed and \d+ allowed",
    ):
        load_detector(Settings().manifest, "bundled", "cpu", memory=1_000_000)


def test_without_a_limit_a_large_networks_box_takes_the_memory_that_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BUDGET, "cpu", 1_000_000)
    detector = load_detector(Settings().manifest, "bundled", "cpu")
    assert detector.locate(data.astronaut(), choose(**QUICK)).keypoints


def test_the_bundled_network_finds_a_face_and_its_keypoints_lie_in_the_photograph() -> None:
    bundled = load_detector(Settings().manifest, "bundled", "cpu")
    image = data.astronaut()
    found = bundled(
        encoded(image, "JPEG"), choose(patch=16, stride=16, roi=(60, 0, 360, 300)), Limits()
    )
    assert found.top[0].label == "Faces"
    assert (found.width, found.height) == (512, 512)
    assert len(found.keypoints) >= 5
    assert all(0 <= p.x <= 511 and 0 <= p.y <= 511 for p in found.keypoints)


def test_progress_counts_every_box_and_what_it_raises_stops_the_work(
    detector: Detector, photograph: np.ndarray
) -> None:
    told: list[tuple[int, int]] = []
    small = dataclasses.replace(detector, occluder=Incremental(detector.network, 2**22))
    small.locate(
        photograph, choose(stride=2), lambda stage, done, total: told.append((done, total))
    )
    assert len(told) > 4, "several chunks"
    assert told[-1][0] == told[-1][1] == 27**2 * 2
    assert [done for done, _ in told] == sorted({done for done, _ in told})

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyError(done)

    with pytest.raises(KeyError):
        small.locate(photograph, choose(stride=2), stop)


def test_a_photograph_that_passes_another_in_its_occlusion_changes_neither(
    detector: Detector, photograph: np.ndarray
) -> None:
    other, passed = photograph[::-1].copy(), list[Localization]()

    def let_pass(stage: str, done: int, total: int) -> None:
        if len(passed) < 2:
            passed.append(detector.locate(other, choose(**QUICK)))

    first = detector.locate(photograph, choose(stride=2), let_pass)
    assert same(first, detector.locate(photograph, choose(stride=2)))
    assert len(passed) == 2
    assert all(same(each, detector.locate(other, choose(**QUICK))) for each in passed)


def test_photographs_looked_at_together_are_answered_as_if_each_were_alone(
    detector: Detector, photograph: np.ndarray
) -> None:
    """In float64: a ReLU near zero may open or close by rounding alone, and the guided walk is not
    continuous there.
    """
    network = network_of(seeded(narrow_vgg16((4, 5, 6, 7, 8), 6, batch_norm=False)))
    detector = dataclasses.replace(detector, occluder=Incremental(network))
    asked = [
        choose(fine=rule, target_class=target, **QUICK)
        for rule, target in (("mirrored", None), ("guided", 3), ("mirrored", "eel"))
    ]
    images = [photograph, photograph[::-1].copy(), photograph[:, ::-1].copy()]
    waiting = [
        detector.prepare(image, options, Stopwatch())
        for image, options in zip(images, asked, strict=True)
    ]
    passes = detector.forward_backward(waiting)
    for prepared, seen, image, options in zip(waiting, passes, images, asked, strict=True):
        found = detector.explain(prepared, detector.occlude(prepared, seen))
        alone = detector.locate(image, options)
        assert (found.target.class_id, found.options) == (alone.target.class_id, alone.options)
        for mine, expected in zip(
            dataclasses.astuple(found.maps), dataclasses.astuple(alone.maps), strict=True
        ):
            np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            [(p.x, p.y) for p in found.keypoints[:5]],
            [(p.x, p.y) for p in alone.keypoints[:5]],
            atol=1e-9,
        )


def test_the_classes_alone_are_those_of_the_whole_answer_and_share_its_forward_pass(
    detector: Detector, photograph: np.ndarray
) -> None:
    options, clock = choose(top_classes=3, fit="letterbox", **QUICK), Stopwatch()
    waiting = [
        detector.prepare(photograph, options, clock, maps=False),
        detector.prepare(photograph, options, clock),
    ]
    passes = detector.forward_backward(waiting)
    classes, whole = (detector.occlude(*each) for each in zip(waiting, passes, strict=True))
    assert (passes[0].targets, passes[0].fine.shape) == ((), (0, 56, 56))
    assert (classes.targets, classes.coarse) == ((), ())
    assert [score.label for score in classes.top] == [score.label for score in whole.top]
    with pytest.raises(ValueError, match="classes alone"):
        detector.explain(waiting[0], classes)
    for mine, expected in zip(classes.top, whole.top, strict=True):
        assert mine.probability == pytest.approx(expected.probability, rel=1e-5)


def test_classes_beyond_the_range_of_the_precision_are_an_error(
    detector: Detector, photograph: np.ndarray
) -> None:
    waiting = detector.prepare(photograph, choose(), Stopwatch(), maps=False)
    seen = NetworkPass(Trace(waiting.x, (torch.full((1, 6), torch.inf),)), (), np.empty(0))
    with pytest.raises(NotFinite, match="WEAKPOINTS_PRECISION=float32"):
        detector.occlude(waiting, seen)


def test_maps_change_the_order_of_corners_but_not_where_they_are(
    photograph: np.ndarray, rng: np.random.Generator
) -> None:
    frame = frame_of(160, 120, 56, "squash", None)
    options = resolve(choose(keep=1.0, max_keypoints=1000), 56, LABELS)
    scene = scene_of(photograph, frame, options)
    one, two = (find_peaks(scene, -rng.random((56, 56))) for _ in range(2))
    assert sorted(one.points.tolist()) == sorted(two.points.tolist())
    assert one.points.tolist() != two.points.tolist()
    for peaks in (one, two):
        assert (np.diff(peaks.log_likelihood) <= 0).all()
    corners = np.array([[50, 30], [109, 30], [129, 99]])
    assert (np.abs(one.points[:, None] - corners).max(2).min(0) < 3).all()


def test_the_rarer_of_two_corners_comes_first_but_not_in_the_papers_preset(
    photograph: np.ndarray,
) -> None:
    frame = frame_of(160, 120, 56, "squash", None)
    options = resolve(choose(keep=1.0), 56, LABELS)
    scene = scene_of(photograph, frame, options)
    even = np.zeros((56, 56))
    for point in find_peaks(scene, even).points:
        x, y = np.rint(frame.to_network(point)).astype(int)
        rarity = np.full((56, 56), -9.0)
        rarity[y, x] = 0
        found = find_peaks(scene, even, rarity=rarity)
        np.testing.assert_array_equal(found.points[0], point)
        beside = find_peaks(scene, even, rarity=np.zeros((56, 56))).log_likelihood
        assert (found.log_likelihood[1:] < beside.max() - 4 * RARITY_WEIGHT).all()
    paper = dataclasses.replace(scene, options=dataclasses.replace(options, combine="log_sigmoid"))
    score = -np.hypot(*(np.indices((56, 56)) - 20))
    np.testing.assert_array_equal(
        find_peaks(paper, score, rarity=-score).points, find_peaks(paper, score).points
    )


def test_several_classes_share_one_occlusion_and_each_is_as_if_it_were_alone(
    detector: Detector, photograph: np.ndarray
) -> None:
    told = []
    together = detector.locate(
        photograph,
        choose(target_class="cat, 4,cat", **QUICK),
        lambda *progress: told.append(progress),
    )
    assert together.options.target_class == (2, 4)
    alone = [detector.locate(photograph, choose(target_class=i, **QUICK)) for i in (2, 4)]
    for found in alone:
        mine = [p for p in together.keypoints if p.target == found.target.class_id]
        assert [(p.x, p.y) for p in mine] == [(p.x, p.y) for p in found.keypoints]
        assert [p.confidence for p in mine] == pytest.approx(
            [p.confidence for p in found.keypoints]
        )
    assert together.target == alone[0].target
    assert len(together.keypoints) == sum(len(found.keypoints) for found in alone)
    assert told[-1] == ("occlusion", 2 * 49, 2 * 49), "colours times boxes, once"


@pytest.mark.parametrize("combine", ["corners", "log_sigmoid"])
@pytest.mark.parametrize("hidden", ["noise", "black"])
def test_no_keypoint_touches_what_can_not_be_seen_and_hidden_colours_change_nothing(
    detector: Detector, photograph: np.ndarray, combine: str, hidden: str
) -> None:
    rng = np.random.default_rng(3)
    cut_out = rng.integers(0, 256, (120, 160, 4), np.uint8) * (hidden == "noise")
    cut_out[..., 3] = 0
    cut_out[25:85, 40:120] = np.dstack([photograph, np.full((120, 160), 255)])[25:85, 40:120]
    options = choose(combine=combine, keep=1.0, **QUICK)
    found = detector(encoded(cut_out), options, Limits())
    assert found.keypoints
    for point in found.keypoints:
        assert 40 <= point.x <= 119, point
        assert 25 <= point.y <= 84, point
    on_white = decode(encoded(cut_out), Limits())[..., :3]
    plain = detector.locate(np.ascontiguousarray(on_white), options)
    assert plain.top == found.top
    np.testing.assert_array_equal(plain.maps.coarse, found.maps.coarse)


def test_lines_of_one_pixel_have_keypoints_and_nothing_at_all_has_none(detector: Detector) -> None:
    drawing = np.zeros((90, 130, 4), np.uint8)
    drawing[20, 20:100, 3] = drawing[20:70, 100, 3] = 255
    found = detector(encoded(drawing), choose(keep=1.0, **QUICK), Limits())
    assert found.keypoints
    assert all(drawing[round(each.y), round(each.x), 3] == 255 for each in found.keypoints)
    drawing[..., 3] = 0
    assert detector(encoded(drawing), choose(**QUICK), Limits()).keypoints == ()


@pytest.mark.parametrize("combine", ["corners", "log_sigmoid"])
def test_all_weight_on_the_coarse_map_multiplies_nothing_by_minus_infinity(
    detector: Detector, combine: str
) -> None:
    half = np.full((80, 80, 3), 90, np.uint8)
    half[20:40, 20:40] = 200  # the rest is uniform: no corner, minus infinity
    found = detector.locate(half, choose(weight=1.0, combine=combine, **QUICK))
    assert np.isfinite([p.log_likelihood for p in found.keypoints]).all()


ANY_OPTIONS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    preset=st.sampled_from(["default", "paper"]),
    fit=st.sampled_from(["squash", "letterbox"]),
    patch=st.sampled_from([28, 55, 56]),
    stride=st.sampled_from([28, 55, 56]),
    colours=st.sampled_from([1, 2, 64]),
    fill=st.sampled_from(["shared", "per_box"]),
    seed=st.sampled_from([0, 2**31 - 1]),
    score=st.sampled_from(["log_odds", "probability", "logit"]),
    fine=st.sampled_from(["contrast", "mirrored", "guided", "gradient"]),
    combine=st.sampled_from(["corners", "log_sigmoid"]),
    weight=st.sampled_from([0.0, 5e-324, 0.5, 1.0]),
    keep=st.sampled_from([1e-9, 0.15, 1.0]),
    max_keypoints=st.sampled_from([1, 100, 1000]),
    nms_radius=st.sampled_from([1, 2, 256]),
    top_classes=st.sampled_from([1, 100]),
    target_class=st.sampled_from([None, 0, (0, 3, 5)]),
)
ANY_SIZE = st.sampled_from([(16, 16), (16, 3000), (3000, 16), (57, 200), (640, 480)])


@settings(max_examples=20, deadline=None)
@given(ANY_OPTIONS, ANY_SIZE, st.integers(0, 3), st.booleans())
@example({"patch": 56, "stride": 56}, (4000, 3000), 1, False)
@example({"patch": 56, "stride": 56, "roi": (639, 479, 1, 1)}, (640, 480), 1, True)
@example({"patch": 56, "stride": 56, "roi": (0, 300, 640, 1)}, (640, 480), 1, False)
def test_options_at_their_bounds_give_points_inside_whatever_the_size(
    given_options: dict, size: tuple[int, int], content: int, hole: bool
) -> None:
    """Warnings are errors here: no division by zero, no NaN."""
    width, height = size
    if given_options.get("stride", 0) > given_options.get("patch", 56):
        given_options = given_options | {"stride": given_options["patch"]}
    tile = np.random.default_rng(content).integers(0, 256, (40, 40, 3), np.uint8)
    tile = tile if content % 2 else np.full_like(tile, 255 * (content // 2))
    image = np.tile(tile, (height // 40 + 1, width // 40 + 1, 1))[:height, :width]
    if hole:
        seen = np.full((height, width, 1), 255, np.uint8)
        seen[: height // 2] = 0
        image = np.concatenate([image, seen], 2)
    found = TOY.locate(np.ascontiguousarray(image), choose(**given_options))
    assert (found.width, found.height) == size
    for point in found.keypoints:
        assert 0 <= point.x <= width - 1
        assert 0 <= point.y <= height - 1
        assert np.isfinite([point.confidence, point.log_likelihood, point.coarse, point.fine]).all()
        if point.covariance is not None:
            covariance = np.array(point.covariance)
            assert np.isfinite(covariance).all()
            assert np.linalg.eigvalsh(covariance).min() >= -1e-9 * np.trace(covariance)
        if hole and height > 1:
            assert point.y >= height // 2
