"""What must not be fetched, followed, believed or told."""

import base64
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.service.labelstudio.addresses import Origin, photograph_url
from tests.service import running, serving
from tests.service.labelstudio.conftest import (
    CONFIG,
    KEY,
    LabelStudio,
    annotation,
    predicted,
    project_uid,
    task,
    webhook,
)
from weakpoints.errors import BadImage
from weakpoints.method.detector import Detector

CHUNKS = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
CHUNKS = CHUNKS * 5 + b"0\r\n\r\n"
UNNAMED = CONFIG.replace('<Label value="nose"/>', '<Label value="keypoint"/>')
HERE = Origin.of("http://ls.example:8080/studio")


@pytest.fixture(scope="module")
def client_of_module(
    detector: Detector, label_studio_of_module: LabelStudio
) -> Iterator[httpx2.Client]:
    label_studio_of_module.photograph("/a.png")
    url = label_studio_of_module.url
    settings = {"label_studio_url": url, "label_studio_api_key": KEY}
    with serving(lambda: detector, max_bytes=300_000, **settings) as client:
        client.params = {}
        yield client


@pytest.fixture
def client(client_of_module: httpx2.Client, label_studio: LabelStudio) -> httpx2.Client:
    return client_of_module


def error_of(client: httpx2.Client, address: str, **more: object) -> str:
    body = predicted(task(1, address), label_config=UNNAMED, **more)
    answer = client.post("/labelstudio/predict", json=body)
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["results"]
    assert "result" not in entry
    return str(entry["error"])


@pytest.mark.parametrize(
    "address",
    [
        "{other}/a.png",
        "http://127.0.0.1:1/a.png",
        "http://localhost/latest/meta-data",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/a.png",
        "https://127.0.0.1:{port}/a.png",
        "//127.0.0.1:{port}@evil.example/a.png",
        "http://127.0.0.1:{port}@evil.example/a.png",
        "http://evil.example\\@127.0.0.1:{port}/a.png",
        "http://127.0.0.1:99999999/a.png",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.png",
        "data:image/png;base64,AAAA",
        "/a/../../etc/passwd",
        "/a/%2e%2e/%252e%252e/b.png",
        "/a b.png",
        "/a\r\nHost: evil.example",
        "",
        "/" + "x" * 9000,
        "etc/passwd",
    ],
)
def test_nothing_is_fetched_from_elsewhere(
    client: httpx2.Client, label_studio: LabelStudio, other_server: LabelStudio, address: str
) -> None:
    other_server.photograph("/a.png")
    port = label_studio.url.rpartition(":")[2]
    said = error_of(client, address.replace("{other}", other_server.url).replace("{port}", port))
    assert said
    assert other_server.asked == []
    assert label_studio.photographs == []


def test_a_redirect_is_not_followed_and_the_token_stays(
    client: httpx2.Client, label_studio: LabelStudio, other_server: LabelStudio
) -> None:
    other_server.photograph("/a.png")
    label_studio.answers["/r.png"] = 302, {"location": f"{other_server.url}/a.png"}, b""
    assert "redirect, which is not followed" in error_of(client, "/r.png")
    presign = "/tasks/1/presign/?fileuri=s3%3A%2F%2Fbucket%2Fa.png"
    label_studio.answers[presign] = 303, {"location": f"{other_server.url}/a.png"}, b""
    assert "pre-signed URLs" in error_of(client, "s3://bucket/a.png")
    assert other_server.asked == []


def test_a_file_of_a_gigabyte_is_refused_by_its_head_and_an_endless_one_at_the_limit(
    client: httpx2.Client, label_studio: LabelStudio
) -> None:
    label_studio.answers["/big.png"] = 200, {"content-length": str(2**30)}, b"x"
    assert "1073741824 bytes or more; at most 300000" in error_of(client, "/big.png")
    label_studio.answers["/long.png"] = 200, {"content-length": "300001"}, b"x" * 300_001
    assert "300001 bytes" in error_of(client, "/long.png")
    label_studio.answers["/untold.png"] = 200, {"transfer-encoding": "chunked"}, CHUNKS
    assert "at most 300000" in error_of(client, "/untold.png")


def test_what_label_studio_refuses_is_said(
    client: httpx2.Client, label_studio: LabelStudio
) -> None:
    label_studio.answers["/secret.png"] = 401, {}, b"no"
    assert "LABEL_STUDIO_API_KEY" in error_of(client, "/secret.png")
    assert "answers 404" in error_of(client, "/gone.png")
    label_studio.answers["/text.png"] = 200, {}, b"<html>"
    assert error_of(client, "/text.png")
    for odd in (None, 7, {"data": 3}, {"id": "x", "data": {"image": "s3://b/a.png"}}):
        body = predicted(odd, label_config=UNNAMED)
        (entry,) = client.post("/labelstudio/predict", json=body).json()["results"]
        assert "result" not in entry


def test_without_an_address_of_label_studio_nothing_is_done(detector: Detector) -> None:
    with serving(lambda: detector) as client:
        client.params = {}
        assert client.get("/labelstudio/health").status_code == 200
        bodies = {
            "predict": predicted(task(1, "http://127.0.0.1/a.png")),
            "setup": {"project": "7.1", "schema": CONFIG, "hostname": "http://169.254.169.254"},
            "webhook": webhook("ANNOTATION_CREATED", task=task(1, "x"), annotation=annotation()),
        }
        for path, body in bodies.items():
            answer = client.post(f"/labelstudio/{path}", json=body)
            assert answer.status_code == 403
            assert "LABEL_STUDIO_URL is not set" in answer.json()["detail"]


def test_a_label_studio_that_is_gone_is_said(detector: Detector) -> None:
    with serving(lambda: detector, label_studio_url="http://127.0.0.1:1") as client:
        client.params = {}
        assert "does not answer at LABEL_STUDIO_URL" in error_of(client, "/a.png")


def basic(password: str) -> dict[str, str]:
    token = base64.b64encode(f"anybody:{password}".encode()).decode()
    return {"authorization": f"Basic {token}"}


def test_the_key_is_the_password_and_on_these_routes_alone(
    detector: Detector, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    url = "http://127.0.0.1:1"
    with serving(lambda: detector, api_keys=tmp_path / "keys", label_studio_url=url) as client:
        client.params = {}
        for headers in ({}, basic("beta"), {"authorization": "Basic ~~~"}, basic("")):
            for method, path in (("GET", "health"), ("POST", "webhook"), ("POST", "predict")):
                answer = client.request(method, f"/labelstudio/{path}", headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Basic ")
        hook = webhook("ANNOTATION_CREATED", task=task(1, "x"), annotation=annotation())
        for headers in (basic("alpha"), {"authorization": "Bearer alpha"}, {"x-api-key": "alpha"}):
            assert client.get("/labelstudio/health", headers=headers).status_code == 200
            assert client.post("/labelstudio/webhook", json=hook, headers=headers).is_success
        assert client.get("/model", headers=basic("alpha")).status_code == 401


ENTITY = '<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>'
CONFIGS = {
    "no keypoints": ('<View><Image name="i" value="$image"/></View>', "nothing to answer"),
    "another image": (CONFIG.replace('toName="image"', 'toName="other"'), "nothing to answer"),
    "no image": ("<View/>", "no `<Image>`"),
    "an entity": (ENTITY, "DOCTYPE"),
    "no XML": ("<View>", "not XML"),
    "too long": ("<View>" + " " * 265_000, "at most 262144"),
    "no text": (None, "no labelling configuration"),
    "a threshold": (
        CONFIG.replace('name="kp"', 'name="kp" model_point_threshold="much"'),
        "model_point_threshold",
    ),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_that_cannot_be_answered_is_said(client: httpx2.Client, kind: str) -> None:
    config, message = CONFIGS[kind]
    body = predicted(task(1, "/a.png"), label_config=config)
    for path, sent in (("predict", body), ("setup", {"project": project_uid(), "schema": config})):
        answer = client.post(f"/labelstudio/{path}", json=sent)
        assert answer.status_code == 422
        assert message in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("predict", b"{"), ("predict", b"[]"), ("webhook", b"\xff"), ("setup", b"[" * 100_000)],
)
def test_a_body_that_is_no_object_is_said(client: httpx2.Client, path: str, body: bytes) -> None:
    answer = client.post(f"/labelstudio/{path}", content=body)
    assert answer.status_code == 400


def test_a_body_without_tasks_or_an_annotation_of_nothing_is_said(client: httpx2.Client) -> None:
    answer = client.post("/labelstudio/predict", json=predicted() | {"tasks": 3})
    assert answer.status_code == 400
    assert client.post("/labelstudio/predict", json=predicted()).json() == {"results": []}
    answer = client.post("/labelstudio/predict", json=predicted() | {"tasks": [0] * 100_001})
    assert (answer.status_code, answer.json()["limit"]) == (413, 100_000)
    many = predicted() | {"tasks": [0] * 500, "label_config": UNNAMED}
    entries = client.post("/labelstudio/predict", json=many).json()["results"]
    assert len(entries) == 500
    assert all("no address" in entry["error"] for entry in entries)
    hook = webhook("ANNOTATION_CREATED", task=None, annotation=annotation())
    assert client.post("/labelstudio/webhook", json=hook).status_code == 422
    large = webhook("PROJECT_UPDATED", filler="x" * 300_001)
    assert client.post("/labelstudio/webhook", json=large).status_code == 413


def test_a_photograph_that_is_no_reference_does_not_stop_the_others(
    client: httpx2.Client, label_studio: LabelStudio
) -> None:
    def learn(number: int, address: str) -> None:
        hook = webhook("ANNOTATION_CREATED", task=task(number, address), annotation=annotation())
        hook["project"] = {"id": 8}
        assert client.post("/labelstudio/webhook", json=hook).status_code == 201

    learn(1, "http://169.254.169.254/x")
    body = predicted(task(3, "/a.png"), project="8.1716300000")
    (entry,) = client.post("/labelstudio/predict", json=body).json()["results"]
    assert "none of the annotated photographs can be used" in entry["error"]
    learn(2, "/a.png")
    (entry,) = client.post("/labelstudio/predict", json=body).json()["results"]
    assert entry["result"]


def test_no_token_is_in_the_log(
    client: httpx2.Client, label_studio: LabelStudio, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        setup = {"project": project_uid(), "schema": CONFIG, "access_token": "of-somebody"}
        client.post("/labelstudio/setup", json=setup)
        error_of(client, "/gone.png")
        client.post("/labelstudio/webhook", json=webhook("X"), headers=basic("their-password"))
    for secret in (KEY, "of-somebody", "their-password", basic("their-password")["authorization"]):
        assert secret not in caplog.text


def test_a_personal_token_is_exchanged_once(detector: Detector, label_studio: LabelStudio) -> None:
    label_studio.photograph("/a.png")
    label_studio.answers["/api/token/refresh/"] = 200, {}, b'{"access": "short"}'
    settings = {"label_studio_url": label_studio.url, "label_studio_api_key": "a.b.c"}
    with serving(lambda: detector, **settings) as client:
        client.params = {}
        for _ in range(2):
            body = predicted(task(1, "/a.png"), label_config=UNNAMED)
            (entry,) = client.post("/labelstudio/predict", json=body).json()["results"]
            assert entry["result"]
    paths = [path for path, _ in label_studio.asked]
    assert paths.count("/api/token/refresh/") == 1
    sent = [
        headers.get("authorization") for path, headers in label_studio.asked if path == "/a.png"
    ]
    assert sent == ["Bearer short"] * 2


def test_a_token_that_is_not_given_is_said(detector: Detector, label_studio: LabelStudio) -> None:
    label_studio.answers["/api/token/refresh/"] = 200, {}, b'{"access": 7}'
    settings = {"label_studio_url": label_studio.url, "label_studio_api_key": "a.b.c"}
    with serving(lambda: detector, **settings) as client:
        client.params = {}
        assert "no access token" in error_of(client, "/a.png")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/data/upload/3/a.png", "/data/upload/3/a.png"),
        ("upload/3/a.png", "/data/upload/3/a.png"),
        ("/upload/3/a.png", "/data/upload/3/a.png"),
        ("/studio/data/upload/3/a.png", "/data/upload/3/a.png"),
        ("http://ls.example:8080/studio/data/a.png?x=1", "/data/a.png?x=1"),
        ("/data/local-files/?d=b/a.png", "/data/local-files/?d=b/a.png"),
        ("s3://bucket/a b.png", None),
        ("s3://bucket/a.png", "/tasks/5/presign/?fileuri=s3%3A%2F%2Fbucket%2Fa.png"),
    ],
)
def test_addresses_of_label_studio_are_below_where_it_is(address: str, path: str | None) -> None:
    if path is None:
        with pytest.raises(BadImage):
            photograph_url(address, HERE, 5)
    else:
        assert photograph_url(address, HERE, 5) == f"http://ls.example:8080/studio{path}"
    for elsewhere in ("http://ls.example:8080/other/a.png", "http://ls.example/studio/a.png"):
        with pytest.raises(BadImage):
            photograph_url(elsewhere, HERE, 5)


def test_an_origin_is_a_server_s() -> None:
    assert Origin.of("https://[::1]/").base == "https://[::1]"
    for wrong in ("", "ls.example", "ftp://ls.example", "http://me:secret@ls.example"):
        with pytest.raises(ValueError, match="is expected"):
            Origin.of(wrong)


def test_a_label_studio_that_is_silent_is_not_waited_for_for_ever(detector: Detector) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with serving(lambda: detector, label_studio_url=url, upload_timeout=0.5) as client:
            client.params = {}
            assert "did not come from Label Studio in 0.5 s" in error_of(client, "/a.png")


def test_a_flood_of_webhooks_fetches_nothing(
    client: httpx2.Client, label_studio: LabelStudio
) -> None:
    for number in range(60):
        about = task(number, "/a.png")
        hook = webhook("ANNOTATION_CREATED", task=about, annotation=annotation(number))
        hook["project"] = {"id": 1000 + number % 20}
        assert client.post("/labelstudio/webhook", json=hook).status_code == 201
    assert label_studio.asked == []


def test_webhooks_that_come_together_wait_for_no_place(detector: Detector) -> None:
    """As many as photographs that are received: one more is told to come again."""
    url = "http://127.0.0.1:1"
    with running(lambda: detector, uploads=1, label_studio_url=url) as (server, client):
        place = server.service.pipeline.place("somebody")
        answer = client.post("/labelstudio/webhook", json=webhook("PROJECT_UPDATED"))
        place.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_what_comes_packed_is_refused(client: httpx2.Client, label_studio: LabelStudio) -> None:
    label_studio.answers["/packed.png"] = 200, {"content-encoding": "gzip"}, b"x"
    assert "came packed (gzip)" in error_of(client, "/packed.png")
