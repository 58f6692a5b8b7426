"""What touches a photograph at full size, by its megapixels: `python -m benchmarks.stages`.

A made photograph of 12, 24 and 48 megapixels goes through each stage alone, on one thread, and
then through a service, beside another caller's small pictures. Prints JSON, for
`python -m benchmarks.keep stages -- ...`.
"""

import hashlib
import json
import os
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from io import BytesIO
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from benchmarks.machine import memory, reset_device_peak
from benchmarks.several import served
from weakpoints.images.decode import decode
from weakpoints.images.pixels import SRGB
from weakpoints.method.close_up import close_up
from weakpoints.method.frame import InputSpec, frame_of, normalised
from weakpoints.method.peaks import Scene, find_peaks, refined
from weakpoints.method.render import encode, overlay
from weakpoints.options import Limits, choose, resolve

STAGE_SIZES = {12: (4000, 3000), 24: (6000, 4000), 48: (8000, 6000)}
SPEC = InputSpec(224, (0.5,) * 3, (0.25,) * 3)
STAGE_ROUNDS = 3
STAGES_PORT = 8873
CALLER = "203.0.113.7"
RgbImage = NDArray[np.uint8]


def synthetic_photograph(megapixels: int) -> RgbImage:
    """(H, W, 3): discs of all sizes under the noise of a sensor."""
    width, height = STAGE_SIZES[megapixels]
    rng, image = np.random.default_rng(0), np.full((height, width, 3), 128, np.uint8)
    for _ in range(400):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = [int(value) for value in rng.integers(0, 256, 3)]
        cv2.circle(image, centre, int(rng.integers(10, width // 8)), colour, -1, cv2.LINE_AA)
    noise = rng.normal(0, 4, (500, width, 3))
    for top in range(0, height, 500):
        rows = image[top : top + 500]
        rows[:] = np.clip(np.rint(rows + noise[: len(rows)]), 0, 255)
    return image


def jpeg(image: RgbImage, **more: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90, **more)
    return file.getvalue()


def other_profile() -> bytes:
    """sRGB's with red and green exchanged: every colour changes."""
    profile = ImageCms.ImageCmsProfile(SRGB).tobytes()
    return profile.replace(b"rXYZ", b"tmp ").replace(b"gXYZ", b"rXYZ").replace(b"tmp ", b"gXYZ")


def stages(megapixels: int) -> dict[str, Callable[[], object]]:
    """Each stage by its name; what it needs is made before."""
    image = synthetic_photograph(megapixels)
    height, width, _ = image.shape
    turned = Image.Exif()
    turned[0x0112] = 6
    plain, upright = jpeg(image), jpeg(image, exif=turned)
    coloured = jpeg(image, icc_profile=other_profile())
    frame = frame_of(width, height, SPEC.side, "squash", None)
    near = frame.near(image)
    options = resolve(choose(), SPEC.side, ["one"])
    small = np.random.default_rng(0).random((SPEC.side, SPEC.side))

    def keypoints() -> object:
        scene = Scene(close_up(image, near, frame), frame, options)
        return refined(scene, find_peaks(scene, small - 1))

    return {
        "decode": lambda: decode(plain, Limits()),
        "decode, turned": lambda: decode(upright, Limits()),
        "decode, other colours": lambda: decode(coloured, Limits()),
        "resize": lambda: normalised(frame.near(image), frame, SPEC),
        "digest": lambda: hashlib.sha256(np.ascontiguousarray(near).data.cast("B")).digest(),
        "close-up, corners, refinement": keypoints,
        "overlay": lambda: overlay(image, frame.map_to_image(small).clip(0, 1)),
        "PNG": lambda: encode(image),
    }


def stage_seconds(megapixels: int) -> dict[str, dict[str, float]]:
    """Of each stage, the median seconds and the bytes that it takes at its peak."""
    cv2.setNumThreads(1)
    figures = {}
    for name, run in stages(megapixels).items():
        reset_device_peak("cpu")
        before = memory("cpu", "VmRSS") or 0
        taken = []
        for _ in range(STAGE_ROUNDS):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
        peak = (memory("cpu", "VmHWM") or 0) - before
        figures[name] = {"seconds": statistics.median(taken), "peak_memory_bytes": max(peak, 0)}
    return figures


def through_service(megapixels: int) -> dict[str, float]:
    """`/detect` without its occlusion, and how long other callers wait beside it."""
    large = jpeg(synthetic_photograph(megapixels))
    small = [jpeg(np.full((60, 80 + i, 3), 90, np.uint8)) for i in range(200)]
    os.environ |= {"WEAKPOINTS_PROXIES": '["127.0.0.1"]', "WEAKPOINTS_NETWORK": "bundled"}
    with served(STAGES_PORT):
        runs = [post(large)["timing_ms"] for _ in range(STAGE_ROUNDS)]
        alone = [waited(picture) for picture in small[:20]]
        thread = threading.Thread(target=post, args=(large,))
        thread.start()
        beside: list[float] = []
        while thread.is_alive():
            time.sleep(0.05)
            beside.append(waited(small[20 + len(beside) % 180]))
        thread.join()
    rest = [(run["total"] - run["occlusion"]) / 1000 for run in runs]
    return {
        "beside_occlusion_seconds": min(rest),
        "decode_seconds": min(run["decode"] for run in runs) / 1000,
        "prepare_seconds": min(run["prepare"] for run in runs) / 1000,
        "small_alone_seconds": statistics.median(alone),
        "small_beside_longest_seconds": max(beside),
        "small_beside_median_seconds": statistics.median(beside),
    }


def post(picture: bytes, caller: str = "") -> dict[str, Any]:
    """The answer to one photograph with few boxes, so that the device is not what is waited for."""
    headers = {"Content-Type": "image/jpeg"} | ({"X-Forwarded-For": caller} if caller else {})
    address = f"http://127.0.0.1:{STAGES_PORT}/detect?patch=56&stride=56&colours=1"
    request = urllib.request.Request(address, picture, headers)
    with urllib.request.urlopen(request) as answer:
        figures: dict[str, Any] = json.load(answer)
    return figures


def waited(picture: bytes) -> float:
    start = time.perf_counter()
    post(picture, CALLER)
    return time.perf_counter() - start


def main() -> None:
    figures: dict[str, Any] = {}
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for megapixels in STAGE_SIZES:
            figures[str(megapixels)] = {"stages": pool.apply(stage_seconds, (megapixels,))}
            print(megapixels, file=sys.stderr)
    for megapixels in STAGE_SIZES:
        figures[str(megapixels)]["service"] = through_service(megapixels)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
