"""A large photograph beside other callers: it holds neither the device nor the others."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tests.service import encoded, post, serving, until
from tests.toys import toy
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.method.stages import Evidence, Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import choose
from weakpoints.progress import Progress, no_progress

SLOW, MANY = 70, 2  # the width of the picture whose keypoints take long; other callers' pictures
OTHER = {"x-forwarded-for": "203.0.113.7"}


@dataclass(frozen=True)
class Pondering(Detector):
    """Has all evidence of a picture that is SLOW wide, and looks for keypoints until it is told."""

    began: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def explain(
        self, prepared: Prepared, evidence: Evidence, progress: Progress = no_progress
    ) -> Localization:
        if prepared.frame.width == SLOW:
            self.began.set()
            try:
                while True:
                    time.sleep(0.01)
                    progress("keypoints", 0, 1)
            finally:
                self.stopped.set()
        return super().explain(prepared, evidence, progress)


def pondering() -> Pondering:
    made = toy()
    return Pondering(made.occluder, made.model, made.input)


def test_keypoints_that_take_long_hold_no_device_and_end_at_the_deadline() -> None:
    slow = pondering()
    with serving(lambda: slow, proxies=["127.0.0.1"]) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, client, SLOW, **{"x-request-timeout": "3"})
        assert slow.began.wait(30)
        for i in range(MANY):
            assert post(client, 80 + i, **OTHER).status_code == 200
        assert not slow.stopped.is_set(), "the others did not wait for it"
        assert answer.result().status_code == 504
        until(slow.stopped.is_set)


def test_a_plain_picture_of_24_megapixels_costs_the_device_what_a_small_one_does() -> None:
    """It is 80 KB, and held the device for seconds once."""
    large = encoded(Image.new("RGB", (6000, 4000), (90, 120, 150)), "PNG")
    assert len(large) < 100_000
    with serving(toy) as client:
        headers = {"content-type": "image/png"}
        timing = client.post("/detect", content=large, headers=headers).json()["timing_ms"]
        small = post(client, 90).json()["timing_ms"]
    on_device = ("trace", "guided", "occlusion")
    assert sum(timing[stage] for stage in on_device) < 2000 + sum(small[s] for s in on_device)
    assert timing["keypoints"] < 2000, "it was 5 s and more"


def test_what_waits_for_the_device_has_no_full_size_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    prepared = toy().prepare(image, choose(), Stopwatch())
    assert prepared.scene is not None
    kept = [prepared.x.numpy(), prepared.scene.close_up.grey, prepared.scene.close_up.blurred]
    assert sum(values.nbytes for values in kept) < image.nbytes / 50
    assert all(values.base is None or values.base.nbytes < 10**6 for values in kept)
