"""Make docs/named.png: `python -m docs.named_picture`.

The photographs are scikit-image's astronaut (Eileen Collins, by NASA) and Matplotlib's sample of
Grace Hopper (U.S. Navy): both public domain.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import get_sample_data
from skimage import data

from weakpoints import Weakpoints
from weakpoints.landmarks.annotations import Annotations, Marked
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import learn
from weakpoints.options import choose

OUT = Path(__file__).with_name("named.png")
NAMES = ("right eye", "left eye", "nose", "mouth, right", "mouth, left", "chin")
PLACES = np.array([[53, 66], [94, 66], [74, 91], [58, 106], [90, 106], [76, 138]], float)


def main() -> None:
    collins = np.ascontiguousarray(data.astronaut()[35:225, 150:300])
    whole = plt.imread(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    hopper = np.ascontiguousarray(whole[70:350, 150:370])
    weakpoints = Weakpoints("efficientnet_lite0", device="cpu")
    size = (collins.shape[1], collins.shape[0])
    marked = Marked("collins.png", size, PLACES, np.ones(len(NAMES), bool))
    annotations = Annotations("face", NAMES, (), (marked,))
    describer = Describer(weakpoints.detector)
    learnt: LandmarkSet = learn(describer, annotations, lambda name: collins, choose())
    finder = weakpoints.landmarks(learnt)
    wider = np.ascontiguousarray(hopper[:, ::-1])
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained")
    axes[0].imshow(collins)
    axes[0].set_title("marked")
    draw(axes[0], PLACES, np.ones(len(NAMES), bool))
    for axis, image, title in ((axes[1], hopper, "found"), (axes[2], wider, "found, mirrored")):
        named = finder.find(image)
        print(title, named.confidence.round(2))
        axis.imshow(image)
        axis.set_title(title)
        draw(axis, named.xy, named.visible)
    for axis in axes:
        axis.axis("off")
    figure.savefig(OUT, dpi=90)


def draw(axis: Axes, places: np.ndarray, visible: np.ndarray) -> None:
    for number, ((x, y), seen) in enumerate(zip(places, visible, strict=True)):
        colour = plt.get_cmap("tab10")(number)
        face = colour if seen else "none"
        axis.scatter([x], [y], s=70, facecolors=face, edgecolors="white" if seen else colour, lw=2)


if __name__ == "__main__":
    main()
