"""`make demo`: start the service, send it a real photograph (scikit-image's astronaut), show the answer, stop."""

import io
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2
from PIL import Image
from skimage import data

OUT = Path("demo")
PORT = 8765


def main() -> int:
    OUT.mkdir(exist_ok=True)
    photo = io.BytesIO()
    Image.fromarray(data.astronaut()[:300, 60:420]).save(photo, "JPEG", quality=92)
    (OUT / "photo.jpg").write_bytes(photo.getvalue())
    service = subprocess.Popen(
        [Path(sys.executable).with_name("weakpoints"), "serve", "--port", str(PORT)]
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=120) as client:
            wait(client)
            found = (
                client.post("/detect", files={"image": photo.getvalue()}).raise_for_status().json()
            )
            for name, options in {
                "overlay": {"keypoints": True},
                "heatmap": {"style": "colormap"},
            }.items():
                answer = client.post(
                    "/heatmap", files={"image": photo.getvalue()}, params=options
                ).raise_for_status()
                (OUT / f"{name}.png").write_bytes(answer.content)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)
    (OUT / "answer.json").write_text(json.dumps(found, indent=1))
    print(json.dumps({**found, "keypoints": found["keypoints"][:3]}, indent=1))
    print(
        f"{len(found['keypoints'])} keypoints, the first three shown; the rest and the pictures are in {OUT}/"
    )
    return 0


def wait(client: httpx2.Client) -> None:
    for _ in range(300):
        with suppress(httpx2.TransportError):  # nobody listens yet
            if client.get("/readyz").is_success:
                return
        time.sleep(0.2)
    raise SystemExit("the service did not start within a minute")


if __name__ == "__main__":
    raise SystemExit(main())
