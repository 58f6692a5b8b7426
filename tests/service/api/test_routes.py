import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import cv2
import httpx2
import numpy as np
import pytest

from app.decoding.pool import Decoders
from tests.images.test_decode import png_header
from tests.service import Held, encoded, serving, until
from weakpoints.method.detector import Detector


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[httpx2.Client]:
    with serving(lambda: detector, max_bytes=200_000) as client:
        yield client


@pytest.fixture(scope="module")
def photo(photograph: np.ndarray) -> bytes:
    return encoded(photograph, "JPEG")


def post(
    client: httpx2.Client,
    data: bytes,
    path: str = "/detect",
    part: str = "image",
    **options: object,
) -> httpx2.Response:
    return client.post(
        path,
        files={part: ("p", data, "image/jpeg")},
        params={"patch": "14", "stride": "14"} | options,
    )


def refused(
    client: httpx2.Client, answer: httpx2.Response, status: int, slug: str, good: bytes
) -> dict[str, object]:
    """A problem with that status, after which the service still answers."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = answer.json()
    assert problem["type"] == f"urn:weakpoints:problem:{slug}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert post(client, good).status_code == 200
    return problem


def test_detect_answers_with_keypoints_inside_the_image(
    client: httpx2.Client, photo: bytes
) -> None:
    answer = post(client, photo, top_classes=3).json()
    assert answer["image"] == {"width": 160, "height": 120}
    assert answer["keypoints"]
    assert all(
        0 <= p["x"] <= 159 and 0 <= p["y"] <= 119 and 0 < p["confidence"] <= 1
        for p in answer["keypoints"]
    )
    assert len(answer["prediction"]["top"]) == 3
    assert (
        answer["prediction"]["class_id"]
        == answer["options"]["target_class"]
        == answer["prediction"]["top"][0]["class_id"]
    )
    assert answer["options"]["patch"] == 14
    assert answer["model"]["sha256"] == "0" * 64
    assert {"queue", "decode", "occlusion", "total"} <= set(answer["timing_ms"])


def test_the_raw_body_gives_the_same_answer_as_the_form(
    client: httpx2.Client, photo: bytes
) -> None:
    expected = post(client, photo).json()["keypoints"]
    for kind in ("image/jpeg", "application/octet-stream", ""):  # as browsers say they don't know
        raw = client.post("/detect", content=photo, headers={"content-type": kind})
        assert raw.json()["keypoints"] == expected


def test_the_request_id_is_taken_over_if_it_is_harmless(
    client: httpx2.Client, photo: bytes
) -> None:
    answer = client.post(
        "/detect",
        content=photo,
        headers={"content-type": "image/jpeg", "x-request-id": "abc-1.2_3"},
    )
    assert answer.json()["id"] == answer.headers["x-request-id"] == "abc-1.2_3"
    odd = client.get("/livez", headers={"x-request-id": "a b;c"})
    assert odd.headers["x-request-id"].isalnum()


@pytest.mark.parametrize("which", ["fused", "coarse", "fine"])
@pytest.mark.parametrize(
    ("style", "kind"), [("overlay", np.uint8), ("colormap", np.uint8), ("gray16", np.uint16)]
)
@pytest.mark.parametrize(("size", "shape"), [("image", (120, 160)), ("network", (56, 56))])
def test_heatmap_is_a_png_of_the_asked_size(
    client: httpx2.Client,
    photo: bytes,
    which: str,
    style: str,
    kind: type,
    size: str,
    shape: tuple[int, int],
) -> None:
    answer = post(client, photo, "/heatmap", map=which, style=style, size=size, keypoints=True)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    pixels = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape[:2] == shape
    assert pixels.dtype == kind
    assert float(answer.headers["x-map-min"]) < float(answer.headers["x-map-max"])


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"format": "npz"}, {}),
        ({}, {"accept": "application/x-npz"}),
        ({"format": "npz"}, {"accept": "image/png"}),
    ],
)
def test_heatmap_gives_the_numbers_themselves(
    client: httpx2.Client, photo: bytes, options: dict[str, str], headers: dict[str, str]
) -> None:
    said = post(client, photo).json()
    answer = client.post(
        "/heatmap",
        files={"image": ("p", photo)},
        params={"patch": "14", "stride": "14"} | options,
        headers=headers,
    )
    assert answer.headers["content-type"] == "application/x-npz"
    assert answer.headers["cache-status"] == "weakpoints; hit"
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
        assert arrays["fused"].shape == (56, 56)
        assert json.loads(str(arrays["answer"]))["keypoints"] == said["keypoints"]


def test_heatmap_draws_the_class_that_is_chosen_of_several(
    client: httpx2.Client, photo: bytes
) -> None:
    def drawn(**options: str) -> bytes:
        answer = post(client, photo, "/heatmap", style="gray16", map="coarse", **options)
        assert answer.status_code == 200
        return answer.content

    both = {"target_class": "cat,dog"}
    assert drawn(**both) == drawn(**both, drawn_class="cat") == drawn(target_class="cat")
    assert drawn(**both, drawn_class="3") == drawn(target_class="dog") != drawn(**both)
    assert drawn(**both, drawn_class="dog", format="png") == drawn(target_class="dog")
    for wrong, says in (("eel", "none of the classes"), ("unicorn", "none of the 6 labels")):
        answer = post(client, photo, "/heatmap", drawn_class=wrong, **both)
        problem = refused(client, answer, 422, "bad-option", photo)
        assert says in str(problem["detail"])
        assert problem["option"] == "drawn_class"
    alone = post(client, photo, "/heatmap", drawn_class="cat")
    assert "target_class" in str(refused(client, alone, 422, "bad-option", photo)["detail"])


@pytest.mark.parametrize(
    ("data", "status", "slug", "says"),
    [
        (b"", 400, "malformed-request", "0 bytes"),
        (b"just some text", 415, "unsupported-media-type", "only JPEG, PNG"),
        (b"%PDF-1.7", 415, "unsupported-media-type", "looks like PDF"),
        (b"GIF89a" + bytes(40), 422, "bad-image", "the GIF of 46 bytes"),
        (encoded(np.zeros((1, 1, 3), np.uint8)), 422, "bad-image", "at least 16"),
        (png_header(20_000, 20_000), 413, "too-large", "400000000"),
        (encoded(np.zeros((64, 64, 3), np.uint8), "JPEG")[:-40], 422, "bad-image", "cut short"),
        (bytes(200_001), 413, "too-large", "200000"),
        (bytes(500_000), 413, "too-large", "200000"),
    ],
    ids=["empty", "text", "pdf", "gif", "1x1", "bomb", "truncated", "over", "far over"],
)
def test_bad_images_get_their_own_error(
    client: httpx2.Client, photo: bytes, data: bytes, status: int, slug: str, says: str
) -> None:
    assert says in str(refused(client, post(client, data), status, slug, photo)["detail"])
    raw = client.post("/detect", content=data, headers={"content-type": "image/png"})
    assert says in str(refused(client, raw, status, slug, photo)["detail"])


def test_a_body_without_a_length_is_stopped_at_the_limit(
    client: httpx2.Client, photo: bytes
) -> None:
    answer = client.post(
        "/detect", content=(bytes(50_000) for _ in range(5)), headers={"content-type": "image/png"}
    )
    assert refused(client, answer, 413, "too-large", photo)["limit"] == 200_000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pach": 3}, "no option 'pach'; options are background"),
        ({"patch": 0}, "greater than or equal to 1"),
        ({"patch": 57}, "input side is 56"),
        ({"stride": 15}, "patch of 14"),
        ({"keep": 1.5}, "less than or equal to 1"),
        ({"score": "luck"}, "'log_odds', 'probability' or 'logit'"),
        ({"roi": "100,100,61,10"}, "160 x 120"),
        ({"roi": "1,2,3"}, "roi is '1,2,3'"),
        ({"background": "white"}, "background is 'white'"),
        ({"target_class": "unicorn"}, "none of the 6 labels"),
        ({"target_class": 6}, "0 to 5"),
        ({"patch": 2, "stride": 1, "colours": 64}, "at most 20000"),
    ],
)
def test_bad_options_name_the_option_and_its_range(
    client: httpx2.Client, photo: bytes, options: dict[str, object], says: str
) -> None:
    problem = refused(client, post(client, photo, **options), 422, "bad-option", photo)
    assert says in str(problem["detail"])
    assert problem["option"] in options


def test_an_option_that_is_given_twice_is_not_dropped_in_silence(
    client: httpx2.Client, photo: bytes
) -> None:
    for path in ("/detect", "/heatmap"):
        answer = post(client, photo, path, target_class=["cat", "dog"])
        problem = refused(client, answer, 422, "bad-option", photo)
        assert (problem["option"], problem["actual"]) == ("target_class", 2)
        assert "commas" in str(problem["detail"])


def test_every_option_is_taken_and_said_back(client: httpx2.Client, photo: bytes) -> None:
    given = {
        "preset": "paper",
        "target_class": "cat",
        "fit": "letterbox",
        "roi": "10,5,100,90",
        "background": "00FF7f",
        "colours": 3,
        "seed": 7,
        "score": "logit",
        "fine": "gradient",
        "combine": "corners",
        "weight": 0.25,
        "keep": 1.0,
        "max_keypoints": 3,
        "nms_radius": 2,
        "fill": "shared",
    }
    used = post(client, photo, **given).json()["options"]
    assert used | given == used | {"target_class": "cat", "roi": "10,5,100,90"}
    assert (used["target_class"], used["roi"]) == (2, [10, 5, 100, 90])


def test_a_wrong_field_a_wrong_type_and_a_broken_form_are_told_apart(
    client: httpx2.Client, photo: bytes
) -> None:
    assert "'photo'" in str(
        refused(client, post(client, photo, part="photo"), 400, "malformed-request", photo)[
            "detail"
        ]
    )
    text = client.post("/detect", json={"image": "data"})
    assert "application/json" in str(
        refused(client, text, 415, "unsupported-media-type", photo)["detail"]
    )
    for content in (b"--x\r\nnonsense", b""):
        broken = client.post(
            "/detect", content=content, headers={"content-type": "multipart/form-data; boundary=x"}
        )
        refused(client, broken, 400, "malformed-request", photo)
    unbound = client.post("/detect", content=b"x", headers={"content-type": "multipart/form-data"})
    refused(client, unbound, 400, "malformed-request", photo)
    packed = client.post(
        "/detect", content=photo, headers={"content-type": "image/jpeg", "content-encoding": "gzip"}
    )
    assert "gzip" in str(refused(client, packed, 415, "unsupported-media-type", photo)["detail"])


def test_no_other_site_s_page_may_read_an_answer_and_no_browser_may_guess(
    client: httpx2.Client, photo: bytes
) -> None:
    elsewhere = {"origin": "https://elsewhere.example"}
    answer = client.post(
        "/detect", content=photo, headers={"content-type": "image/jpeg", **elsewhere}
    )
    asked = client.options(
        "/detect", headers={**elsewhere, "access-control-request-method": "POST"}
    )
    assert (answer.status_code, asked.status_code) == (403, 405)
    for each in (answer, asked, client.get("/"), client.get("/nowhere")):
        assert not any(name.startswith("access-control") for name in each.headers)
        assert each.headers["x-content-type-options"] == "nosniff"
        assert (each.headers["x-frame-options"], each.headers["referrer-policy"]) == (
            "DENY",
            "no-referrer",
        )
        assert each.headers["cache-control"] == "no-store"
        assert "server" not in each.headers


def test_an_address_is_not_fetched(client: httpx2.Client, photo: bytes) -> None:
    for address in (b"http://127.0.0.1/photo.jpg", b"file:///etc/passwd"):
        refused(client, post(client, address), 415, "unsupported-media-type", photo)
    refused(client, post(client, photo, url="http://127.0.0.1/photo.jpg"), 422, "bad-option", photo)


def test_unknown_routes_and_methods_are_problems_too(client: httpx2.Client, photo: bytes) -> None:
    refused(client, client.get("/nowhere"), 404, "http-404", photo)
    assert (
        refused(client, client.get("/detect"), 405, "http-405", photo)["title"]
        == "Method Not Allowed"
    )


def test_the_model_the_probes_and_the_documentation_answer(client: httpx2.Client) -> None:
    card = client.get("/model").json()
    assert (card["input_side"], card["labels"][2], card["precision"]) == (56, "cat", "float32")
    assert client.get("/livez").json() == client.get("/readyz").json() == {"status": "ok"}
    assert client.get("/docs").status_code == 200
    schema = client.get("/openapi.json").json()
    parameters = {p["name"]: p for p in schema["paths"]["/heatmap"]["post"]["parameters"]}
    assert {"patch", "map", "style", "target_class", "roi"} <= set(parameters)
    assert "the network's own" in parameters["patch"]["description"]
    detect, heatmap = (schema["paths"][path]["post"] for path in ("/detect", "/heatmap"))
    one, several = (
        operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["image"]
        for operation in (heatmap, detect)
    )
    assert one == several["items"] == {"type": "string", "format": "binary"}
    told = detect["responses"]["200"]["content"]
    assert set(told) == {"application/json", "application/x-ndjson", "text/event-stream"}
    assert "Results" in str(told["application/json"])
    assert set(heatmap["responses"]["200"]["content"]) == {"image/png", "application/x-npz"}


def test_callers_at_the_same_time_get_their_own_answers(client: httpx2.Client) -> None:
    def ask(width: int) -> bool:
        noise = np.random.default_rng(width).integers(0, 256, (40, width, 3)).astype(np.uint8)
        answers = [post(client, encoded(noise)).json() for _ in range(2)]
        return (
            answers[0]["image"]["width"] == width
            and answers[0]["keypoints"] == answers[1]["keypoints"]
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(30, 54, 2)))


def held(detector: Detector) -> Held:
    return Held(detector.occluder, detector.model, detector.input)


def test_a_full_queue_answers_429_with_a_time_to_wait(detector: Detector, photo: bytes) -> None:
    slow = held(detector)
    with ThreadPoolExecutor(3) as pool, serving(lambda: slow, queue_size=1) as client:
        first = pool.submit(post, client, photo)
        until(lambda: 160 in slow.seen)
        others = [pool.submit(post, client, photo) for _ in range(2)]
        refusal = next(as_completed(others)).result()
        slow.gate.set()
        assert (refusal.status_code, refusal.json()["limit"]) == (429, 1)
        assert int(refusal.headers["retry-after"]) == refusal.json()["retry_after"] >= 1
        assert sorted(each.result().status_code for each in (first, *others)) == [200, 200, 429]


def test_a_full_queue_refuses_before_it_decodes_but_answers_what_it_knows(
    detector: Detector, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = held(detector)
    slow.gate.set()
    with ThreadPoolExecutor(3) as pool, serving(lambda: slow, queue_size=1) as client:
        assert post(client, photo).status_code == 200
        slow.gate.clear()
        runs = pool.submit(post, client, photo, seed=1)
        until(lambda: len(slow.seen) >= 3)
        waits = pool.submit(post, client, photo, seed=2)
        until(lambda: "weakpoints_queue_depth 1.0" in client.get("/metrics").text)
        monkeypatch.setattr(Decoders, "decode", lambda *args: 1 / 0)
        refusal = post(client, photo, seed=3)
        monkeypatch.undo()
        known = post(client, photo)
        slow.gate.set()
        assert (refusal.status_code, refusal.json()["limit"], refusal.headers["retry-after"]) == (
            429,
            1,
            "1",
        )
        assert (known.status_code, known.headers["cache-status"]) == (200, "weakpoints; hit")
        assert (runs.result().status_code, waits.result().status_code) == (200, 200)


def test_a_failure_tells_nothing_and_the_service_goes_on(detector: Detector, photo: bytes) -> None:
    slow = held(detector)
    slow.gate.set()
    with serving(lambda: slow) as client:
        answer = post(client, encoded(np.zeros((66, 66, 3), np.uint8)))
        assert "secret" not in answer.text
        refused(client, answer, 500, "internal-error", photo)


def test_a_caller_that_hangs_up_while_sending_costs_no_device_time(
    detector: Detector, photo: bytes
) -> None:
    slow = held(detector)
    with serving(lambda: slow, cache_bytes=0) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, client, photo)
        until(lambda: 160 in slow.seen)
        slow.gate.set()
        assert first.result().status_code == 200
        with pytest.raises(httpx2.HTTPError):
            client.post(
                "/detect",
                content=stalling(photo),
                headers={"content-type": "image/jpeg", "content-length": str(len(photo))},
            )
        assert post(client, photo).status_code == 200
        assert slow.seen == [64, 160, 160]


def stalling(photo: bytes) -> Iterator[bytes]:
    yield photo[:100]
    raise httpx2.WriteError("the caller gave up")
