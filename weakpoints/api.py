"""The Python API: a network, a photograph, arrays.

from weakpoints import Weakpoints

weakpoints = Weakpoints("efficientnet_lite0")
found = weakpoints.detect("photo.jpg", max_keypoints=20)
found.xy, found.confidence, found.maps.fused
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import WeakpointsError
from weakpoints.given_options import options_from
from weakpoints.images.decode import split
from weakpoints.images.given import Photograph, pixels
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.exports.exports import is_export, read_export
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import ENOUGH, learn
from weakpoints.landmarks.named import Named, NamedPoints
from weakpoints.loading import detector_of, load_detector
from weakpoints.method.localization import ClassScore, Localization, Maps
from weakpoints.networks.device import chosen_device
from weakpoints.networks.graph.adding import IMAGENET_MEAN, IMAGENET_STD, entry_of
from weakpoints.networks.manifest import MODEL_WEIGHTS, Channels, downloads_of
from weakpoints.options import MAX_PASSES, Limits, Precision, Which
from weakpoints.processes import check_process, check_threads, parent_of_threads

if TYPE_CHECKING:  # an extra, imported where something is drawn
    from matplotlib.axes import Axes
    from torch import nn

LIMITS = Limits()
OPACITY = 0.6  # of the map's maximum over the photograph; the minimum is transparent


@dataclass(frozen=True)
class Found:
    """What was found on one photograph: N keypoints, class by class, strongest first.

    image: (H, W, 3) RGB, as people see it. localization: the whole answer.
    """

    image: NDArray[np.uint8]
    localization: Localization

    @property
    def xy(self) -> NDArray[np.float64]:
        """(N, 2) pixels, x right and y down; (0, 0) is the centre of the top-left pixel."""
        points = [(point.x, point.y) for point in self.localization.keypoints]
        return np.array(points, float).reshape(-1, 2)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(N,) in (0, 1]; it ranks the keypoints and is no probability."""
        return np.array([point.confidence for point in self.localization.keypoints], float)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(N, 2, 2) square pixels; NaN where a keypoint is not refined."""
        unknown = ((np.nan, np.nan), (np.nan, np.nan))
        known = [point.covariance or unknown for point in self.localization.keypoints]
        return np.array(known, float).reshape(-1, 2, 2)

    @property
    def drop(self) -> NDArray[np.float64]:
        """(N,) how much the class score falls where boxes cover each keypoint, in log-odds."""
        return np.array([point.drop for point in self.localization.keypoints], float)

    @property
    def drop_error(self) -> NDArray[np.float64]:
        """(N,) the standard error of `drop`; NaN where one box covers the keypoint once."""
        return np.array([point.drop_error for point in self.localization.keypoints], float)

    @property
    def target(self) -> NDArray[np.int64]:
        """(N,) index of the class that each keypoint explains."""
        return np.array([point.target for point in self.localization.keypoints], np.int64)

    @property
    def top(self) -> tuple[ClassScore, ...]:
        """The likeliest classes, the likeliest first."""
        return self.localization.top

    @property
    def maps(self) -> Maps:
        """fused, coarse and fine of the first class that was asked for, (S, S) each."""
        return self.localization.maps

    def map_of(self, which: Which) -> NDArray[np.float32]:
        """(H, W): one of the maps, laid over the photograph; 0 outside of the part looked at."""
        return self.localization.frame.map_to_image(getattr(self.maps, which))

    def plot(self, axes: "Axes | None" = None, which: Which | None = None) -> "Axes":
        """The photograph with its keypoints, and over it the map `which`, if one is named.

        axes: Matplotlib's, the current ones if not given. Raises WeakpointsError without
        Matplotlib.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise WeakpointsError(
                "plot needs Matplotlib: pip install 'weakpoints[plot]'"
            ) from error
        axes = axes or plt.gca()
        axes.imshow(self.image)
        if which is not None:
            shown = self.map_of(which)
            shown = np.exp(shown) if which == "fused" else shown  # as /heatmap: the confidence
            unit = (shown - shown.min()) / max(float(np.ptp(shown)), 1e-12)
            axes.imshow(shown, cmap="inferno", alpha=OPACITY * unit)
        x, y = self.xy[::-1].T  # the strongest on top
        axes.scatter(
            x, y, c=self.confidence[::-1], cmap="RdYlGn", vmin=0, vmax=1, edgecolors="black"
        )
        explained = self.localization.target
        axes.set_title(f"{explained.label}, {explained.probability:.1%}")
        axes.set_axis_off()
        return axes


class Weakpoints:
    """A network of the manifest, loaded and ready. The same call gives the same answer.

    On a CPU any number of threads may share one; on a GPU one thread at a time.
    """

    def __init__(
        self,
        network: str | None = None,
        *,
        manifest: str | os.PathLike[str] | None = None,
        downloads: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        memory: int | None = None,
        max_passes: int = MAX_PASSES,
        limits: Limits = LIMITS,
        module: "nn.Module | None" = None,
        labels: Sequence[str] = (),
        side: int = 224,
        mean: Channels = IMAGENET_MEAN,
        std: Channels = IMAGENET_STD,
    ) -> None:
        """network: its name in the manifest; `auto`: VGG-16 where its weights are here.

        Which network of which manifest is WEAKPOINTS_NETWORK and WEAKPOINTS_MANIFEST where it is
        not given, as for the commands, or `auto` of the installed one; nothing else is read from
        the environment.

        downloads: the folder of pulled weights. device: `cpu`, `cuda`, `cuda:1`, or `auto`, which
        takes a GPU if there is one. memory: bytes that the occlusion may take, beside the network.
        limits: of photographs. Raises WeakpointsError.
        module: a classifier of one's own in place of `network`, which takes (N, 3, side, side) and
        answers a logit for each of `labels`; mean, std: of pixels from 0 to 1, as it was trained.
        """
        check_threads()
        self.limits, self.process = limits, os.getpid()
        # A process that gets this object pickled loads the same network again.
        self._arguments: dict[str, Any] = {"device": device, "precision": precision}
        self._arguments |= {"memory": memory, "max_passes": max_passes, "limits": limits}
        if module is not None:
            self._arguments |= {"module": module, "labels": labels, "side": side}
            self._arguments |= {"mean": mean, "std": std}
            chosen = chosen_device(device)
            entry, loaded = entry_of(module, labels, side, mean, std, chosen)
            self.detector = detector_of(
                entry, loaded, "a module was given", chosen, max_passes, memory, precision
            )
        else:
            default = os.environ.get("WEAKPOINTS_MANIFEST") or MODEL_WEIGHTS / "manifest.json"
            file = Path(manifest or default).expanduser()
            name = network or os.environ.get("WEAKPOINTS_NETWORK") or "auto"
            folder = downloads_of(file) if downloads is None else Path(downloads)
            self._arguments |= {"network": name, "manifest": file, "downloads": folder}
            self.detector = load_detector(file, name, device, max_passes, memory, precision, folder)
        self.detector.occluder.compile()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._arguments,)

    def detect(self, photograph: Photograph, **options: Any) -> Found:
        """The keypoints of a file, open or by its path, of its bytes, of a picture that Pillow has
        opened, or of an (H, W, 3) RGB array of uint8.

        options: those of `/detect`; a class may be a number, and several are a list. Raises
        WeakpointsError, and OSError where the file cannot be read.
        """
        check_process(self.process)
        chosen = options_from(options)
        image = pixels(photograph, self.limits, chosen.background)
        return Found(split(image)[0], self.detector.locate(image, chosen))

    def landmarks(
        self,
        references: "str | os.PathLike[str] | LandmarkSet",
        images: str | os.PathLike[str] | None = None,
        most: int = ENOUGH,
    ) -> "Landmarks":
        """Named points: a landmark set (a file, or made before), or annotations of photographs.

        Annotations are COCO keypoints, or what Label Studio, CVAT, labelme or YOLO-pose exports.
        images: the folder that their names are relative to; their own if not given.
        most: references that are kept of them, those that help. Raises BadAnnotations, and
        BadLandmarkSet for a set of another network.
        """
        check_process(self.process)
        describer = Describer(self.detector)
        if isinstance(references, LandmarkSet):
            learnt = references
        elif is_export(Path(references)):
            folder = Path(references).parent if images is None else images
            learnt = learnt_from(describer, references, folder, self.limits, most)
        else:
            learnt = LandmarkSet.load(Path(references))
        return Landmarks(self, NamedPoints(describer, learnt.pattern), learnt)


def _again(arguments: dict[str, Any]) -> Weakpoints:
    """In the process that a pickled one came to.

    A forked child is told at the first call: a pool whose children can't unpickle never ends.
    """
    if (parent := parent_of_threads()) is None:
        return Weakpoints(**arguments)
    unusable = object.__new__(Weakpoints)
    unusable.process = parent
    return unusable


class Landmarks:
    """The landmarks of a set, found by name on photographs of its class."""

    def __init__(self, weakpoints: Weakpoints, named: NamedPoints, learnt: LandmarkSet) -> None:
        self.set, self._named, self._weakpoints = learnt, named, weakpoints

    @property
    def names(self) -> tuple[str, ...]:
        return self.set.names

    def __reduce__(self) -> tuple[Any, ...]:
        return _landmarks_again, (self._weakpoints, self.set)

    def find(self, photograph: Photograph, **options: Any) -> Named:
        """The landmarks on a photograph, given as for `Weakpoints.detect`: one forward pass.

        options: `roi`, `fit`, `background` and `top_classes` of `/detect`; `roi`, the object's
        box, helps. Raises WeakpointsError, and OSError where the file cannot be read.
        """
        check_process(self._weakpoints.process)
        chosen, limits = options_from(options), self._weakpoints.limits
        return self._named.find(pixels(photograph, limits, chosen.background), chosen)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the set, for `Weakpoints.landmarks(path)` and the service."""
        self.set.save(Path(path))


def _landmarks_again(weakpoints: Weakpoints, learnt: LandmarkSet) -> Landmarks:
    """In the process that pickled ones came to; told at the first call, as `_again` does."""
    if weakpoints.process == os.getpid():
        return weakpoints.landmarks(learnt)
    unusable = object.__new__(Landmarks)
    unusable.set, unusable._weakpoints = learnt, weakpoints
    return unusable


def learnt_from(
    describer: Describer,
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    limits: Limits,
    most: int = ENOUGH,
) -> LandmarkSet:
    """A set of the photographs that an export names. Raises BadAnnotations."""
    defaults = options_from({})
    marked = read_export(Path(annotations), Path(images), limits)

    def opened(name: str) -> NDArray[np.uint8]:
        return pixels(Path(images) / name, limits, defaults.background)

    return learn(describer, marked, opened, defaults, most)
