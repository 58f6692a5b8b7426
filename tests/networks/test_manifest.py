"""What a manifest may say of a network. `test_weights.py` has how its files are found."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakpoints.errors import WeightsError
from weakpoints.networks.manifest import Entry, find
from weakpoints.options import NetworkDefaults

GOOD: dict[str, Any] = {
    "architecture": "vgg16",
    "labels": "l.json",
    "side": 32,
    "mean": [0.485, 0.456, 0],
    "std": [1, 0.225, 0.0039],
    "file": "f.pth",
    "sha256": "a" * 64,
    "licence": "x",
}


def entry(folder: Path, name: str = "mine", **change: object) -> Entry:
    (folder / "l.json").write_text('["a", "b"]')
    (folder / "manifest.json").write_text(json.dumps({"networks": {name: GOOD | change}}))
    return find(folder / "manifest.json", name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mean": [123.675, 116.28, 103.53]}, r"mean.0: .* less than or equal to 1 .*from 0 to 1"),
        ({"std": [58.395, 57.12, 57.375]}, r"std.0: .* of pixels from 0 to 1\); it is 58.395"),
        ({"std": [0.2, 0, 0.2]}, r"std.1: .*; it is 0"),
        ({"std": [-0.2, 0.2, 0.2]}, r"std.0: .*; it is -0.2"),
        ({"std": [1e-300, 1, 1]}, "std.0"),
        ({"std": [float("nan"), 1, 1]}, "std.0"),
        ({"std": [float("inf"), 1, 1]}, "std.0"),
        ({"mean": [0, -0.1, 0]}, "mean.1"),
        ({"mean": [0, float("nan"), 0]}, "mean.1"),
        ({"mean": [0.5]}, "mean"),
        ({"mean": 0.5}, "mean"),
        ({"mean": [True, 0, 0]}, "mean.0"),
        ({"mean": ["0.5", 0, 0]}, "mean.0"),
        ({"side": 0}, "side: .*; it is 0"),
        ({"side": -224}, "side"),
        ({"side": 224.5}, "side"),
        ({"side": True}, "side"),
        ({"side": float("nan")}, "side"),
        ({"side": 10**9}, "side: .* 4096; it is 1000000000"),
        ({"occluder": {"patch": 33, "stride": 1}}, "occluder: its patch is 33 .* side, 32"),
        ({"occluder": {"patch": 4, "stride": 5}}, "occluder: its patch is 4 and its stride 5"),
        ({"occluder": {"patch": 1.5, "stride": 1}}, "occluder.patch"),
        ({"widths": [16, 0]}, "widths.1"),
        ({"widths": [16, -3]}, "widths.1"),
    ],
)
def test_a_number_that_no_network_has_is_refused_by_its_name(
    change: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=f"'mine' is not right: {says}"):
        entry(tmp_path, **change)


def test_what_networks_have_is_taken_up_to_the_bounds(tmp_path: Path) -> None:
    small = entry(tmp_path, mean=[0, 1, 0.5], std=[1e-3, 1, 0.5], side=1)
    assert (small.mean, small.std, small.defaults) == ((0, 1, 0.5), (1e-3, 1, 0.5), None)
    assert entry(tmp_path, side=4096, occluder={"patch": 4096, "stride": 4096}).defaults == (
        NetworkDefaults(4096, 4096)
    )


@given(st.text(min_size=1, max_size=300).filter(lambda name: name != "auto"))
def test_a_network_may_have_any_name(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert entry(folder, name).name == name
    with pytest.raises(WeightsError, match="no network"):
        find(folder / "manifest.json", name + "-")


@pytest.mark.parametrize("content", ["[]", "3", '"networks"', '{"networks": []}', "{}", "null"])
def test_a_manifest_of_another_shape_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(WeightsError, match="not a manifest of networks"):
        find(tmp_path / "manifest.json", "mine")


@pytest.mark.parametrize("wrong", [None, [], "vgg16", 3])
def test_an_entry_of_another_shape_is_one_sentence(wrong: object, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"networks": {"mine": wrong}}))
    with pytest.raises(WeightsError, match="'mine' is not right"):
        find(tmp_path / "manifest.json", "mine")


def test_a_manifest_may_begin_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    entry(tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert find(tmp_path / "manifest.json", "mine").labels == ("a", "b")
