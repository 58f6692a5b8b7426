"""What holds for every request: HEAD, redirects, pages of other sites, `Expect`."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from app.service.app import create_app
from app.service.http.middleware import relative
from app.settings import Settings
from tests.service import STREAM, Held, picture, post, request_head, serving, until
from weakpoints.method.detector import Detector

GETS = ("/", "/livez", "/readyz", "/metrics", "/model", "/openapi.json", "/docs", "/page/")


def test_the_edge_of_the_service(detector: Detector) -> None:
    """One service for all of them: a start costs more than the requests."""
    with serving(lambda: detector) as client:
        for path in GETS:
            got, head = client.get(path), client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert head.headers.get("content-type") == got.headers.get("content-type")
        refused = client.head("/detect")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")

        for path, location in (
            ("/detect/", "../detect"),
            ("/docs/", "../docs"),
            ("/page", "page/"),
        ):
            answer = client.get(path, params={}, follow_redirects=False)
            assert answer.status_code == 307
            assert answer.headers["location"].partition("?")[0] == location

        assert "x-accel-buffering" not in client.get("/livez").headers
        assert post(client, 90, **STREAM).headers["x-accel-buffering"] == "no"

        connection, head_sent = request_head(client, 10)
        connection.sendall(
            head_sent.replace(b"image/png", b"text/plain").replace(
                b"accept", b"expect: 100-continue\r\naccept"
            )
        )
        received = b""
        while part := connection.recv(4096):
            received += part
        assert received.startswith(b"HTTP/1.1 415 ")
        assert b"\r\nconnection: close\r\n" in received
        connection.close()

        connection, head_sent = request_head(client, len(picture(90)))
        connection.sendall(head_sent.replace(b"accept", b"expect: 100-continue\r\naccept"))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(picture(90))
        received = connection.recv(4096)
        assert received.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" not in received
        connection.close()


def test_where_every_connection_is_busy_probes_alone_are_answered(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held, connections=1) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(post, client, 90)
        until(lambda: 90 in held.seen)
        refused = post(client, 91)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/livez").status_code == 200
        held.gate.set()
        assert first.result().status_code == 200


def test_below_a_prefix_everything_is_found_and_stays_there(detector: Detector) -> None:
    """As a proxy passes it on that takes the prefix away, and as one that leaves it."""
    with serving(lambda: detector, root_path="/a/kp", origins=("*",)) as client:
        for prefix in ("", "/a/kp"):
            here = f"{client.base_url}{prefix}/"
            for path in GETS[1:-1]:
                assert client.get(f"{prefix}{path}").status_code == 200, path
            for page in ("", "docs"):
                links = re.findall(r'(?:src|href)="([^"]+)"', client.get(f"{prefix}/{page}").text)
                links = [urljoin(here + page, link) for link in links if "data:" not in link]
                assert len(links) >= 2
                for link in links:
                    assert link.startswith(here)
                    assert client.get(link, params={}).status_code == 200, link
            document = f"{here}openapi.json"
            (server,) = client.get(document).json()["servers"]
            assert urljoin(document, server["url"]) == here
            for path, to in (("detect/", "detect"), ("docs/", "docs"), ("page", "page/")):
                answer = client.get(here + path, params={})
                way = answer.headers["location"].partition("?")[0]
                assert urljoin(here + path, way) == here + to
            sent = {"content-type": "image/png", "origin": "https://any.example"}
            answer = client.post(f"{prefix}/detect", content=picture(90), headers=sent)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "*"
        assert client.get("/a/kp").headers["location"] == "kp/?patch=14&stride=14"
        assert client.get("/a/kpx").status_code == 404
    for wrong in ("/a b", "/a?b", "/a//b"):
        with pytest.raises(ValueError, match="root_path"):
            Settings(root_path=wrong)


@pytest.fixture(scope="module")
def friendly(detector: Detector) -> Iterator[httpx2.Client]:
    with serving(lambda: detector, origins=("https://friend.example",)) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "https://behind.a.proxy"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://here.example", "host": "here.example"}, 200),
        ({"sec-fetch-site": "cross-site", "origin": "https://friend.example"}, 200),
    ],
)
def test_a_form_on_another_site_s_page_is_refused_without_consent(
    headers: dict[str, str], status: int, friendly: httpx2.Client
) -> None:
    answer = friendly.post("/detect", files={"image": picture(90)}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["type"] == "urn:weakpoints:problem:cross-site"
    assert friendly.get("/model", headers=headers).status_code == 200


def test_consent_by_cors_is_given_to_the_origins_that_are_named(friendly: httpx2.Client) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    for origin, status in (("https://friend.example", 200), ("https://evil.example", 400)):
        answer = friendly.options("/detect", headers={**asks, "origin": origin})
        assert answer.status_code == status
    answer = friendly.post(
        "/detect",
        content=picture(90),
        headers={"content-type": "image/png", "origin": "https://friend.example"},
    )
    assert answer.headers["access-control-allow-origin"] == "https://friend.example"
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("path", "location", "way"),
    [
        ("/detect/", "http://x/detect", "../detect"),
        ("/page", "http://x/page/", "page/"),
        ("/a/b/", "http://x/a/b?c=d", "../b?c=d"),
    ],
)
def test_a_redirect_is_relative(path: str, location: str, way: str) -> None:
    assert relative(path, location) == way
    assert urljoin(f"https://proxy/prefix{path}", way).startswith("https://proxy/prefix/")


@pytest.mark.parametrize("server", ["root_path", "mounted"])
def test_below_a_root_path_or_mounted_all_is_as_at_the_root(
    detector: Detector, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As `uvicorn --root-path /kp` has it, or in an application of somebody else."""
    service = create_app(Settings(), lambda: detector)
    app: ASGIApp = service
    if server == "mounted":
        app = Starlette(lifespan=service.router.lifespan_context)
        app.mount("/kp", service)

    async def ask(client: httpx2.AsyncClient, *paths: str) -> list[httpx2.Response]:
        headers = {"content-type": "image/png"}
        query = "patch=14&stride=14"
        return [
            await client.post(f"/kp/{path}&{query}", content=picture(90), headers=headers)
            for path in paths
        ]

    async def scenario() -> list[httpx2.Response]:
        root = "/kp" if server == "root_path" else ""
        transport = httpx2.ASGITransport(app, root_path=root)
        async with (
            service.router.lifespan_context(service),
            httpx2.AsyncClient(transport=transport, base_url="http://x") as client,
        ):
            while (await client.get("/kp/readyz")).status_code == 503:
                await asyncio.sleep(0.01)
            return await ask(
                client, "detect?seed=1", "detect?patch=abc", "detect?none=1", "heatmap?style=none"
            )

    with caplog.at_level("INFO", "weakpoints"):
        answers = asyncio.run(scenario())
    assert [answer.status_code for answer in answers] == [200, 422, 422, 422]
    assert "options are " in answers[2].json()["detail"]
    routes = {getattr(record, "route", None) for record in caplog.records} - {None}
    assert routes == {"/detect", "/heatmap"}
    assert 'reason="unavailable"' not in service.state.service.metrics.text().decode()
