"""Make the pictures of the documentation: `python -m docs.pictures` -> docs/overlay.png,
docs/stages.png.

The photograph is scikit-image's cat Chelsea (by Stefan van der Walt, CC0).
"""

import sys
from pathlib import Path

import cv2
import httpx2
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from skimage import data

from docs.running import serving

OUT = Path(__file__).parent
PANELS: tuple[tuple[str, dict[str, str | bool]], ...] = (
    ("photograph", {}),
    ("coarse: which patches", {"map": "coarse", "style": "colormap"}),
    ("fine: which pixels", {"map": "fine", "style": "colormap"}),
    ("fused, with keypoints", {"map": "fused", "keypoints": True}),
)


def photograph() -> bytes:
    """A JPEG of the cat's head."""
    image = cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def main() -> None:
    photo = photograph()
    with (
        serving(str(Path(sys.executable).with_name("weakpoints")), "serve") as (address, _),
        httpx2.Client(base_url=address, timeout=300) as client,
    ):

        def picture(options: dict[str, str | bool]) -> bytes:
            answer = client.post("/heatmap", files={"image": photo}, params=options)
            return answer.raise_for_status().content

        (OUT / "overlay.png").write_bytes(picture({"keypoints": True}))
        panels = [(title, picture(options) if options else photo) for title, options in PANELS]
    figure, axes = plt.subplots(1, len(panels), figsize=(10, 1.9), layout="constrained")
    for axis, (title, encoded) in zip(axes, panels, strict=True):
        axis.imshow(pixels(encoded))
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    figure.savefig(OUT / "stages.png", dpi=100)


def pixels(encoded: bytes) -> NDArray[np.uint8]:
    return np.asarray(
        cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8
    )


if __name__ == "__main__":
    main()
