"""`make demo`: start the service, send it a real photograph (scikit-image's cat), show the
answer, stop.
"""

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from skimage import data

from weakpoints_client import Client

OUT = Path("demo")
PORT = 8765


def main() -> int:
    OUT.mkdir(exist_ok=True)
    photo = io.BytesIO()
    Image.fromarray(data.chelsea()).save(photo, "JPEG", quality=92)
    image = photo.getvalue()
    (OUT / "photo.jpg").write_bytes(image)
    service = subprocess.Popen(
        [Path(sys.executable).with_name("weakpoints"), "serve", "--port", str(PORT)]
    )
    try:
        with Client(f"http://127.0.0.1:{PORT}") as weakpoints:
            wait(weakpoints)
            found = weakpoints.detect(image, seconds=120)
            overlay = weakpoints.heatmap(image, seconds=120, keypoints=True)
            heatmap = weakpoints.heatmap(image, seconds=120, style="colormap")
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)
    (OUT / "overlay.png").write_bytes(overlay)
    (OUT / "heatmap.png").write_bytes(heatmap)
    (OUT / "answer.json").write_text(found.model_dump_json(indent=1))
    first = found.model_copy(update={"keypoints": found.keypoints[:3]})
    print(first.model_dump_json(indent=1))
    print(
        f"{len(found.keypoints)} keypoints, the first three shown; "
        f"the rest and the pictures are in {OUT}/"
    )
    return 0


def wait(weakpoints: Client) -> None:
    for _ in range(300):
        if weakpoints.ready():
            return
        time.sleep(0.2)
    raise SystemExit("the service did not start within a minute")


if __name__ == "__main__":
    raise SystemExit(main())
