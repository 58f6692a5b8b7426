"""Do the maps say what the class depends on?"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from app.cli import main as cli
from tests.service import encoded
from weakpoints.errors import BadOption
from weakpoints.evaluation.fidelity import (
    GRID,
    SIGNED,
    Sample,
    captum_maps,
    choose_cases,
    fidelity,
    own_maps,
    patch_sums,
    positive_share,
    single_deletion,
)
from weakpoints.evaluation.records import RecordedRows
from weakpoints.method.detector import Detector
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import choose

OPTIONS = choose(patch=14, stride=14, target_class=2)
OURS = {"coarse", "coarse_clipped", "guided", "contrast", "fused"}


@pytest.fixture
def four_classes(tmp_path: Path, photograph: np.ndarray) -> Path:
    for index in range(4):
        (tmp_path / f"{index:04d}").mkdir()
        turned = np.roll(photograph, 30 * index, 1)
        (tmp_path / f"{index:04d}" / "a.png").write_bytes(encoded(turned))
    return tmp_path


def test_patches_are_summed_row_by_row_and_shares_are_of_what_is_positive() -> None:
    values = np.arange(64.0).reshape(8, 8) - 20
    expected = [
        sum(values[2 * row + i, 2 * column + j] for i in range(2) for j in range(2))
        for row in range(GRID)
        for column in range(GRID)
    ]
    assert patch_sums(values).tolist() == expected
    cross = np.array([[3.0, -9], [1, -9]])
    assert [positive_share(cross, i) for i in range(4)] == [0.75, 0, 0.25, 0]
    assert positive_share(-np.ones((4, 4)), 2) == 0.25, "nothing was said"


def test_a_patch_s_drop_is_that_of_a_full_pass_without_it(
    detector: Detector, photograph: np.ndarray
) -> None:
    prepared = detector.prepare(photograph, OPTIONS, Stopwatch())
    (seen,) = detector.forward_backward([prepared])
    drops = single_deletion(detector, prepared, seen)
    for number in (0, 6, 15):
        row, column = divmod(number, GRID)
        covered = prepared.x.clone()
        covered[..., 14 * row : 14 * row + 14, 14 * column : 14 * column + 14] = 0
        fall = (detector.network.logits(prepared.x) - detector.network.logits(covered))[0, 2]
        assert drops[number] == pytest.approx(float(fall), abs=1e-5)


def test_our_maps_are_those_of_the_answer_and_the_coarse_one_keeps_its_sign(
    detector: Detector, photograph: np.ndarray
) -> None:
    prepared = detector.prepare(photograph, OPTIONS, Stopwatch())
    (seen,) = detector.forward_backward([prepared])
    maps, found = own_maps(detector, prepared, seen), detector.locate(photograph, OPTIONS)
    assert maps.keys() == OURS
    np.testing.assert_allclose(maps["coarse_clipped"], found.maps.coarse, atol=1e-6)
    np.testing.assert_allclose(maps["contrast"], found.maps.fine, rtol=1e-6)
    np.testing.assert_allclose(np.log(maps["fused"]), found.maps.fused, atol=1e-5)
    assert (maps["guided"] >= maps["contrast"] * (1 - 1e-6)).all()
    assert maps["coarse"].min() < 0 <= maps["coarse_clipped"].min()


def test_captum_s_gradients_are_those_of_the_table_of_layers(
    detector: Detector, photograph: np.ndarray
) -> None:
    prepared = detector.prepare(photograph, OPTIONS, Stopwatch())
    state = torch.random.get_rng_state()
    maps = captum_maps(detector.network, prepared.x, 2)
    assert torch.random.get_rng_state().equal(state), "the caller's randomness is left alone"
    x, step = prepared.x[0].double(), 1e-3
    place = np.unravel_index(np.abs(maps["input_x_gradient"]).argmax(), (56, 56))
    slope = 0.0
    for colour in range(3):
        moved = torch.zeros(1, 3, 56, 56)
        moved[0, colour, place[0], place[1]] = step
        rise = detector.network.logits(prepared.x + moved) - detector.network.logits(
            prepared.x - moved
        )
        slope += float(x[colour, place[0], place[1]]) * float(rise[0, 2]) / (2 * step)
    assert maps["input_x_gradient"][place] == pytest.approx(slope, rel=0.05)
    for name in SIGNED:
        assert maps[name].min() < 0
        np.testing.assert_array_equal(maps[f"{name}_clipped"], maps[name].clip(min=0))


def test_cases_are_the_same_each_time_and_grids_have_four_classes(four_classes: Path) -> None:
    classes = {i: (four_classes / f"{i:04d}" / "a.png",) for i in range(4)}
    cases = choose_cases(classes, 3, captum=False)
    assert cases == choose_cases(classes, 3, captum=False)
    assert [len(case.paths) for case in cases] == [1, 1, 1, 4, 4]
    for case in cases:
        assert case.paths[case.asked].parent.name == f"{case.target:04d}"
        assert len(set(case.paths)) == len(case.paths)
    with pytest.raises(BadOption, match="four classes; there are 3"):
        choose_cases({i: classes[i] for i in range(3)}, 3, captum=False)


def test_an_input_that_has_no_sixteen_patches_is_refused(
    detector: Detector, four_classes: Path
) -> None:
    odd = Sample((four_classes / "0000" / "a.png",), 0, 0, captum=False)
    spec = detector.input
    object_side = type(spec)(54, spec.mean, spec.std)
    with pytest.raises(BadOption, match="side is 54, no multiple of 4"):
        fidelity(
            type(detector)(detector.occluder, detector.model, object_side),
            [odd],
            OPTIONS,
            RecordedRows(),
        )


def test_the_command_prints_both_figures_of_each_map(
    four_classes: Path,
    detector: Detector,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("app.loading.loaded", lambda *args: detector)
    monkeypatch.setattr("weakpoints.evaluation.matching.RESAMPLES", 20)
    command = ["evaluate", "fidelity", "--images", str(four_classes), "--limit", "2"]
    assert cli.main([*command, "--patch", "28", "--stride", "28", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["deletion"]["cases"], found["grid"]["cases"]) == (2, 1)
    for part, least in (("deletion", -1), ("grid", 0)):
        assert found[part].keys() == {"cases", *OURS}
        assert all(least <= found[part][name]["value"] <= 1 for name in OURS)
        assert len(found[part]["guided"]["interval"]["value"]) == 2
