"""A large photograph beside other callers: it holds neither the device nor the others."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tests.service import encoded, post, serving
from tests.toys import toy
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.method.stages import Evidence, NetworkPass, Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import choose
from weakpoints.progress import Progress, no_progress

SLOW, MANY = 70, 2  # width of a picture whose keypoints take long; other callers' pictures
OTHER = {"x-forwarded-for": "203.0.113.7"}


@dataclass(frozen=True)
class Pondering(Detector):
    """Has all evidence of a picture that is SLOW or one pixel more wide, and looks for keypoints
    until it is told to end.
    """

    began: threading.Event = field(default_factory=threading.Event)
    told: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def explain(
        self, prepared: Prepared, evidence: Evidence, progress: Progress = no_progress
    ) -> Localization:
        if prepared.frame.width in (SLOW, SLOW + 1):
            self.began.set()
            try:
                while not self.told.wait(0.01):
                    progress("keypoints", 0, 1)
            except BaseException:
                self.stopped.set()
                raise
        return super().explain(prepared, evidence, progress)


@dataclass(frozen=True)
class Noted(Detector):
    """Notes how much it is given: values of the network's input, pixels to find keypoints in."""

    sizes: list[tuple[int, int]] = field(default_factory=list)

    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        assert prepared.scene is not None
        self.sizes.append((prepared.x.numel(), prepared.scene.close_up.grey.size))
        return super().occlude(prepared, seen, progress)


def pondering() -> Pondering:
    made = toy()
    return Pondering(made.occluder, made.model, made.input)


def test_keypoints_that_take_long_hold_no_device_and_end_at_the_deadline() -> None:
    slow = pondering()
    with (
        serving(lambda: slow, decoders=2, proxies=["127.0.0.1"]) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(post, client, SLOW)
        assert slow.began.wait(30)
        for i in range(MANY):
            assert post(client, 80 + i, **OTHER).status_code == 200
        assert not slow.stopped.is_set(), "the others did not wait for it"
        slow.told.set()
        assert first.result().status_code == 200
        slow.told.clear()
        slow.began.clear()
        for seconds in ("0.5", "4", "30"):  # however long it takes until it ponders
            answer = post(client, SLOW + 1, **{"x-request-timeout": seconds})
            assert answer.status_code == 504
            if slow.began.is_set():
                break
        assert slow.stopped.wait(30)


def test_a_plain_picture_of_24_megapixels_gives_the_device_no_more_than_a_small_one_does() -> None:
    """It is 80 KB, and held the device for seconds once."""
    large = encoded(Image.new("RGB", (6000, 4000), (90, 120, 150)), "PNG")
    assert len(large) < 100_000
    made = toy()
    noted = Noted(made.occluder, made.model, made.input)
    with serving(lambda: noted) as client:
        noted.sizes.clear()
        headers = {"content-type": "image/png"}
        answer = client.post("/detect", content=large, headers=headers).json()
        assert answer["image"]["width"] == 6000
        post(client, 90)
    (large_input, large_grey), (small_input, _) = noted.sizes
    assert large_input == small_input
    assert large_grey < 10**6, "keypoints took 5 s and more in 24 megapixels"


def test_what_waits_for_the_device_has_no_full_size_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    prepared = toy().prepare(image, choose(), Stopwatch())
    assert prepared.scene is not None
    kept = [prepared.x.numpy(), prepared.scene.close_up.grey, prepared.scene.close_up.blurred]
    assert sum(values.nbytes for values in kept) < image.nbytes / 50
    assert all(values.base is None or values.base.nbytes < 10**6 for values in kept)
