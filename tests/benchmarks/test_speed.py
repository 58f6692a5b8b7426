import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import vgg16

from app.cli import main as cli
from app.settings import Settings
from benchmarks import machine, rivals, speed
from benchmarks.speed import SpeedSetting, compare, products, speed_setting
from tests.conftest import toy_resnet
from tests.tables import network_of
from tests.toys import seeded
from weakpoints.engine.engine import Incremental
from weakpoints.engine.tiles.cuda_graphs import Recorder
from weakpoints.errors import BadOption
from weakpoints.networks.manifest import find
from weakpoints.networks.modules.small_vgg import narrow_vgg16


@pytest.fixture(autouse=True)
def quick_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten products of 2048 x 2048 take longer than all else here, and say no more of the code."""
    monkeypatch.setitem(machine.PRODUCT_SIZE, "cpu", 256)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setattr(rivals, "RIVAL_BATCHES", {"cpu": (2, 5)})
    monkeypatch.setattr(
        torch, "compile", lambda module, dynamic, options: _refuse
    )  # minutes of compiling prove nothing here
    return seeded(narrow_vgg16((3, 4, 5, 6, 32), 6, batch_norm=False)).float()


def _refuse(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no compiler")


def test_a_comparison_has_medians_and_spreads_of_all_four_at_the_same_positions(
    small: nn.Module,
) -> None:
    pytest.importorskip("captum")
    found = compare(
        small,
        SpeedSetting(56, 8, 8),
        ["full", "captum"],
        rounds=3,
        device="cpu",
        precision="float32",
    )
    for name in ("ours", "full", "captum_default", "captum_best"):
        each = found[name]
        assert each["positions"] == 49
        assert each["seconds_per_image"] == sorted(each["all_seconds"])[1] > 0
        assert each["spread"] == max(each["all_seconds"]) - min(each["all_seconds"])
        assert each["ratio"] == pytest.approx(
            each["seconds_per_image"] / found["ours"]["seconds_per_image"]
        )
    assert found["full"]["batch"] in (2, 5)
    assert not found["full"]["compiled"]
    assert found["share_of_products"] == pytest.approx(
        found["products"]["computed"]
        / found["matmul_products_per_second"]
        / found["ours"]["seconds_per_image"]
    )
    assert found["form"] == "deltas"
    assert found["processor"]
    assert found["instructions"]
    assert found["saving_turned_into_time"] == pytest.approx(
        found["full"]["ratio"] / found["theoretical_saving"]
    )


def test_every_contestant_computes_the_same_logits_and_map(small: nn.Module) -> None:
    pytest.importorskip("captum")
    where, x = (
        SpeedSetting(56, 8, 8),
        torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(2)),
    )
    network = network_of(small)
    ours = Incremental(network).logits(
        network.trace(x), where.corners, where.box, torch.zeros(49, 3)
    )
    torch.testing.assert_close(
        rivals.full(small, x, where.corners, where.box, 5), ours, rtol=1e-4, atol=1e-5
    )
    attributions = rivals.captum(small, x, where.box, where.step, 4)[0, 0, ::8, ::8]
    torch.testing.assert_close(
        attributions.flatten(), (network.logits(x)[0, 0] - ours[:, 0]), rtol=1e-3, atol=1e-4
    )


def test_products_are_counted_as_written_out_by_hand() -> None:
    """56 px, one 8 px box in the corner: windows of 9 and 10, then 5, 6 and 7 of a 28 px map, and
    so on; clipped at the border.
    """
    network = network_of(narrow_vgg16((2, 2, 2, 2, 2), 3, batch_norm=False))
    sizes = [
        (9, 56),
        (10, 56),
        (6, 28),
        (7, 28),
        (5, 14),
        (6, 14),
        (7, 14),
        (5, 7),
        (6, 7),
        (7, 7),
        (3, 3),
        (3, 3),
        (3, 3),
    ]
    channels = [3 * 2 * 9, *[2 * 2 * 9] * 12]

    class Corner(SpeedSetting):
        @property
        def corners(self) -> tuple[tuple[int, int], ...]:
            return ((0, 0),)

    values = Incremental(network, recorder=Recorder(lambda run: run)).form
    assert values.plan(56, 8, ((0, 0),)).products.windows == sum(
        window**2 * each for (window, _), each in zip(sizes, channels, strict=True)
    )
    found = products(network, Corner(56, 8, 8))
    assert (
        found["full"]
        == sum(side**2 * each for (_, side), each in zip(sizes, channels, strict=True)) + 6
    )


def test_the_paper_s_network_saves_what_the_notes_say() -> None:
    with torch.device("meta"):
        network = network_of(vgg16())
    where = speed_setting(224, 729)
    found = products(network, where)
    assert found["full"] / 729 == pytest.approx(15.47e9, rel=1e-3)
    assert found["full"] / found["windows"] == pytest.approx(12.1, abs=0.05)
    assert found["computed"] < 275e9
    values = Incremental(network, recorder=Recorder(lambda run: run)).form
    counted = values.plan(where.side, where.box, where.corners).products
    head = found["full"] - counted.full
    assert found["full"] / (counted.windows + head) == pytest.approx(8.88, abs=0.02)


def test_residual_blocks_are_counted_with_their_shortcuts() -> None:
    network = network_of(toy_resnet())
    found = products(network, SpeedSetting(56, 56, 56))
    assert found["full"] == found["windows"] > 0


def test_fewer_positions_mean_a_coarser_step_but_never_a_gap() -> None:
    assert speed_setting(224, 729) == SpeedSetting(224, 16, 8)
    assert speed_setting(224, 728) == SpeedSetting(224, 16, 9)
    assert len(speed_setting(224, 196).corners) == 196
    with pytest.raises(
        BadOption, match="positions is 195; boxes that leave no gap are 196 or more"
    ):
        speed_setting(224, 195)


def test_the_command_prints_one_object_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "benchmark",
        "occlusion",
        "--network",
        "bundled",
        "--positions",
        "196",
        "--rounds",
        "1",
        "--against",
        "",
    ]
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["network"] == "bundled"
    assert found["weights"] == "trained"
    assert found["ours"]["positions"] == 196
    assert cli.main(command) == 0
    assert "theoretical saving" in capsys.readouterr().out


def test_beside_a_loop_each_is_timed_once_more(small: nn.Module) -> None:
    figures = compare(
        small,
        SpeedSetting(56, 8, 8),
        [],
        rounds=1,
        device="cpu",
        precision="float32",
        neighbour=True,
    )
    assert figures["ours"]["seconds_beside_a_loop"] > 0


def test_a_rival_that_is_not_known_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", "occlusion", "--against", "full,krypton"]) == 2
    assert "--against krypton: known are full, captum" in capsys.readouterr().err


def test_a_network_whose_weights_are_not_here_is_measured_with_random_ones(tmp_path: Path) -> None:
    entry = replace(find(Settings().manifest, "bundled"), path=tmp_path / "missing")
    assert (
        speed.speed_of(entry, 196, [], rounds=1, device="cpu", precision="float32")["weights"]
        == "random"
    )
