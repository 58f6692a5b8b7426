"""The Python API, as a notebook uses it."""

import json
import os
import pickle
import subprocess
import sys
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import ExifTags, Image

import weakpoints as package
from tests.landmarks.conftest import PLACES, coco, scene
from tests.service import encoded
from weakpoints import Weakpoints, processes
from weakpoints.errors import BadImage, BadOption, WeakpointsError
from weakpoints.images.given import pixels
from weakpoints.landmarks.annotations import read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.learning import learn
from weakpoints.options import WHITE, Limits, choose

FEW = {"patch": 64, "stride": 32, "colours": 1}


@pytest.fixture(scope="module")
def weakpoints() -> Weakpoints:
    return Weakpoints("bundled", device="cpu")


def test_importing_the_library_brings_neither_torch_nor_pydantic() -> None:
    asked = "import sys, weakpoints; print({'torch', 'pydantic', 'numpy'} & set(sys.modules))"
    told = subprocess.check_output([sys.executable, "-c", asked], text=True)
    assert told.strip() == "set()"
    with pytest.raises(AttributeError, match="no attribute 'Strongpoints'"):
        package.Strongpoints  # noqa: B018


class Wrapped:
    """A file as tempfile and sockets have it: no IOBase, and it gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = BytesIO(data)

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, 100))


def test_a_path_its_bytes_and_its_pixels_have_the_same_keypoints(
    weakpoints: Weakpoints, photograph: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photograph))
    found = [
        weakpoints.detect(each, **FEW)
        for each in (
            path,
            str(path),
            path.read_bytes(),
            bytearray(path.read_bytes()),
            memoryview(path.read_bytes()),
            BytesIO(path.read_bytes()),
            Wrapped(path.read_bytes()),
            photograph,
            Image.fromarray(photograph),
            Image.open(BytesIO(path.read_bytes())),
        )
    ]
    assert len(found[0].xy) > 1
    for each in found[1:]:
        np.testing.assert_array_equal(each.xy, found[0].xy)
        np.testing.assert_array_equal(each.image, photograph)


def test_a_picture_that_pillow_has_opened_is_turned_and_laid_over_as_its_file_is(
    tmp_path: Path, photograph: np.ndarray
) -> None:
    """A phone's photograph lies on its side; a logo has nothing behind it."""
    exif, red = Image.Exif(), np.full((40, 60), 90, np.uint8)
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(photograph).save(tmp_path / "phone.png", exif=exif)
    red[:, 30:] = 255
    logo = Image.merge("RGBA", [Image.fromarray(red)] * 4)
    logo.save(tmp_path / "logo.png")
    Image.fromarray(red).convert("P").save(tmp_path / "palette.png")
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(
            pixels(Image.open(BytesIO(path.read_bytes())), Limits(), "102030"),
            pixels(path, Limits(), "102030"),
        )


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_a_deep_picture_of_pillow_s_is_refused_by_its_mode(mode: str) -> None:
    with pytest.raises(BadImage, match=f"mode is {mode}"):
        pixels(Image.new(mode, (40, 40)), Limits(), WHITE)


def test_opacity_that_pillow_has_multiplied_in_is_read(photograph: np.ndarray) -> None:
    for mode in ("La", "RGBa"):
        picture = Image.fromarray(photograph).convert("LA" if mode == "La" else "RGBA")
        np.testing.assert_array_equal(
            pixels(picture.convert(mode), Limits(), WHITE), pixels(picture, Limits(), WHITE)
        )


def test_arrays_are_those_of_the_answer(weakpoints: Weakpoints, photograph: np.ndarray) -> None:
    found = weakpoints.detect(photograph, target_class=["camera", 3], max_keypoints=7, **FEW)
    label = weakpoints.detector.model.labels.index("camera")
    plain = weakpoints.detector.locate(
        photograph, choose(target_class="camera,3", max_keypoints=7, **FEW)
    )
    points = plain.keypoints
    assert found.xy.tolist() == [[point.x, point.y] for point in points]
    assert found.confidence.tolist() == [point.confidence for point in points]
    assert found.target.tolist() == [point.target for point in points]
    assert set(found.target) == {label, 3}
    assert [not np.isnan(each).any() for each in found.covariance] == [p.refined for p in points]
    assert found.covariance.shape == (len(points), 2, 2)
    assert found.map_of("coarse").shape == photograph.shape[:2]
    assert found.top == plain.top
    np.testing.assert_array_equal(found.maps.fused, plain.maps.fused)


@pytest.mark.parametrize("which", [None, "fused", "coarse"])
def test_a_plot_shows_every_keypoint_where_it_is(
    weakpoints: Weakpoints, photograph: np.ndarray, which: str | None
) -> None:
    found = weakpoints.detect(photograph, **FEW)
    axes = found.plot(Figure().subplots(), which)
    (points,) = axes.collections
    np.testing.assert_array_equal(points.get_offsets(), found.xy[::-1])
    np.testing.assert_array_equal(axes.images[0].get_array(), photograph)
    assert tuple(axes.images[0].get_extent()) == (
        -0.5,
        159.5,
        119.5,
        -0.5,
    )  # pixel (0, 0) is at (0, 0)
    assert len(axes.images) == (1 if which is None else 2)
    assert found.localization.target.label in axes.get_title()


def test_a_plot_takes_the_current_axes_and_needs_matplotlib(
    weakpoints: Weakpoints, photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib.pyplot as plt

    found = weakpoints.detect(photograph, **FEW)
    assert found.plot() is plt.gca()
    plt.close("all")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(WeakpointsError, match=r"weakpoints\[plot\]"):
        found.plot()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((40, 40, 3)),
        np.zeros((40, 15, 3), np.uint8),
        b"no picture",
        StringIO("no picture"),
        torch.zeros((40, 40, 3), requires_grad=True),
    ],
)
def test_what_is_no_photograph_is_told_with_its_shape_and_type(
    weakpoints: Weakpoints, wrong: np.ndarray | bytes
) -> None:
    with pytest.raises(WeakpointsError) as told:
        weakpoints.detect(wrong)
    if isinstance(wrong, np.ndarray):
        assert isinstance(told.value, BadImage)
        assert str(wrong.shape) in told.value.detail or "15 x 40" in told.value.detail


def test_options_and_settings_are_checked_by_name(
    weakpoints: Weakpoints, photograph: np.ndarray
) -> None:
    with pytest.raises(BadOption, match="no option 'pach'; options are background, colours"):
        weakpoints.detect(photograph, pach=8)
    with pytest.raises(BadOption, match="less than or equal to 1"):
        weakpoints.detect(photograph, keep=2)
    with pytest.raises(WeakpointsError, match="no network 'nets'"):
        Weakpoints("nets")
    with pytest.raises(TypeError, match="devise"):
        Weakpoints(devise="cpu")
    with pytest.raises(FileNotFoundError):
        weakpoints.detect("nowhere.jpg")


def test_network_and_manifest_that_are_not_given_are_the_environment_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WEAKPOINTS_NETWORK", "bundled")
    assert Weakpoints(device="cpu").detector.model.name == "bundled"
    monkeypatch.setenv("WEAKPOINTS_MANIFEST", str(tmp_path / "mine.json"))
    with pytest.raises(WeakpointsError, match=r"mine\.json is not a manifest"):
        Weakpoints(device="cpu")


def test_a_forked_child_is_told_to_load_a_network_of_its_own(
    weakpoints: Weakpoints, photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    with pytest.raises(WeakpointsError, match="by `spawn`"):
        weakpoints.detect(photograph, **FEW)
    # Another network would wait for PyTorch's threads, too, if there were any.
    monkeypatch.setattr(processes, "LOADED_IN", {parent})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(WeakpointsError, match="PyTorch's threads stayed in the parent"):
        Weakpoints("bundled", device="cpu")
    monkeypatch.setattr(processes, "LOADED_IN", {parent})
    unusable = pickle.loads(pickle.dumps(weakpoints))
    with pytest.raises(WeakpointsError, match="by `spawn`"):
        unusable.detect(photograph, **FEW)
    monkeypatch.setattr(processes, "LOADED_IN", {parent})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert Weakpoints("bundled", device="cpu").process == parent + 1


def test_landmarks_go_pickled_to_another_process(
    weakpoints: Weakpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = read_annotations(json.dumps(coco({"a.png": PLACES})), "beast.json")
    learnt = learn(Describer(weakpoints.detector), marked, lambda name: scene(), choose())
    beast = weakpoints.landmarks(learnt)
    again = pickle.loads(pickle.dumps(beast))
    assert again.names == beast.names
    np.testing.assert_array_equal(again.find(scene((4, 2))).xy, beast.find(scene((4, 2))).xy)
    # A forked child of threads is told at the first call: a pool waits for ever otherwise.
    data, parent = pickle.dumps(beast), os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    monkeypatch.setattr(processes, "LOADED_IN", {parent})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    unusable = pickle.loads(data)
    assert unusable.names == beast.names
    with pytest.raises(WeakpointsError, match="by `spawn`"):
        unusable.find(scene())


def test_it_goes_pickled_to_another_process_and_loads_the_same_network_there(
    weakpoints: Weakpoints, photograph: np.ndarray, tmp_path: Path
) -> None:
    again = pickle.loads(pickle.dumps(weakpoints))
    assert again.detector.model == weakpoints.detector.model
    np.testing.assert_array_equal(
        again.detect(photograph, **FEW).xy, weakpoints.detect(photograph, **FEW).xy
    )
