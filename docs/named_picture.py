"""Make docs/named.png: `python -m docs.named_picture`.

The photographs are scikit-image's astronaut (Eileen Collins, by NASA) and Matplotlib's sample of
Grace Hopper (U.S. Navy): both public domain.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cbook import get_sample_data
from skimage import data

from weakpoints import Weakpoints
from weakpoints.landmarks.annotations import Annotations, Marked
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import learn
from weakpoints.landmarks.named import Describer
from weakpoints.options import choose

OUT = Path(__file__).with_name("named.png")
NAMES = ("right eye", "left eye", "nose", "mouth, right", "mouth, left", "chin")
PLACES = np.array([[48, 77], [98, 75], [74, 102], [56, 120], [95, 119], [76, 146]], float)


def main() -> None:
    collins = np.ascontiguousarray(data.astronaut()[35:225, 150:300])
    with get_sample_data("grace_hopper.jpg") as file:
        hopper = np.ascontiguousarray(plt.imread(file)[60:330, 135:385])
    weakpoints = Weakpoints("efficientnet_lite0", device="cpu")
    size = (collins.shape[1], collins.shape[0])
    marked = Marked("collins.png", size, PLACES, np.ones(len(NAMES), bool))
    annotations = Annotations("face", NAMES, (), (marked,))
    describer = Describer(weakpoints.detector)
    learnt: LandmarkSet = learn(describer, annotations, lambda name: collins, choose())
    finder = weakpoints.landmarks(learnt)
    cut = np.ascontiguousarray(hopper[:185])
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained")
    axes[0].imshow(collins)
    axes[0].set_title("marked")
    draw(axes[0], PLACES, np.ones(len(NAMES), bool))
    for axis, image, title in ((axes[1], hopper, "found"), (axes[2], cut, "found, cut")):
        found = finder.find(image)
        print(title, found.confidence.round(2))
        axis.imshow(image)
        axis.set_title(title)
        draw(axis, found.xy, found.visible)
    for axis in axes:
        axis.axis("off")
    figure.savefig(OUT, dpi=90)


def draw(axis: plt.Axes, places: np.ndarray, visible: np.ndarray) -> None:
    for number, ((x, y), seen) in enumerate(zip(places, visible, strict=True)):
        colour = plt.get_cmap("tab10")(number)
        face = colour if seen else "none"
        axis.scatter([x], [y], s=70, facecolors=face, edgecolors="white" if seen else colour, lw=2)


if __name__ == "__main__":
    main()
