"""What stands before Ray's proxies, against stand-ins for what they do."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cluster.proxy import RayErrors, middlewares
from app.service.http.problems import problem
from weakpoints.errors import QueueFull

OURS = {"x-content-type-options": "nosniff"}


def ask(inner: ASGIApp, path: str = "/detect", **headers: str) -> httpx2.Response:
    async def asked() -> httpx2.Response:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(RayErrors(inner)), base_url="http://ray"
        ) as client:
            return await client.post(
                path, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )

    return asyncio.run(asked())


async def lost(scope: Scope, receive: Receive, send: Send) -> None:
    """Ray's proxy when the replica has died: no answer at all."""


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("inner", "status", "slug", "wait"),
    [
        (PlainTextResponse("backpressure", 429, {"retry-after": "1"}), 429, "queue-full", 1),
        (PlainTextResponse("timed out", 408), 504, "deadline-passed", None),
        (PlainTextResponse("no such path", 404), 503, "unavailable", 5),
        (PlainTextResponse("unavailable", 503), 503, "unavailable", 5),
        (PlainTextResponse("RayActorError: secret", 500), 503, "unavailable", 1),
        (lost, 503, "unavailable", 1),
        (broken, 503, "unavailable", 1),
    ],
)
def test_what_ray_says_itself_is_said_as_the_service_says_it(
    inner: ASGIApp, status: int, slug: str, wait: int | None
) -> None:
    answer = ask(inner, x_request_id="mine")
    body = answer.json()
    assert (answer.status_code, body["status"], body["type"]) == (
        status,
        status,
        f"urn:weakpoints:problem:{slug}",
    )
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == (str(wait) if wait else None)
    assert body["request_id"] == answer.headers["x-request-id"] == "mine"
    assert "secret" not in answer.text


@pytest.mark.parametrize(("taken", "status"), [(True, 503), (False, 408)])
def test_a_body_that_was_lost_with_its_replica_is_not_the_caller_s_fault(
    taken: bool, status: int
) -> None:
    """The second replica of a request waits for a body that the first one has read."""

    async def second(scope: Scope, receive: Receive, send: Send) -> None:
        while taken and (await receive())["more_body"]:
            pass
        await Response(status_code=408, headers=OURS)(scope, receive, send)

    assert ask(second).status_code == status


def test_its_problems_have_the_shape_of_the_service_s() -> None:
    theirs = ask(PlainTextResponse("backpressure", 429)).json()
    error = QueueFull("full", retry_after=1)
    scope = {"type": "http", "path": "/detect", "state": {"request_id": "x"}, "headers": []}
    ours = problem(
        Request(scope), error.status, error.slug, error.title, error.detail, **error.figures
    )
    assert set(theirs) == set(httpx2.Response(429, content=ours.body).json())


def test_answers_of_the_service_pass_with_one_request_id() -> None:
    async def parts() -> object:
        yield b"one "
        yield b"two"

    def inner() -> Response:
        answer = StreamingResponse(parts(), headers=OURS)
        answer.raw_headers += [(b"x-request-id", b"mine"), (b"x-request-id", b"mine")]
        return answer

    answer = ask(inner(), x_request_id="mine")
    assert (answer.status_code, answer.text) == (200, "one two")
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert ask(PlainTextResponse("nothing there", 404, OURS)).text == "nothing there"


def test_an_answer_that_breaks_off_is_not_begun_anew() -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"x-content-type-options", b"nosniff")],
            }
        )
        raise RuntimeError

    with pytest.raises(AssertionError):  # httpx's: the answer has no end
        ask(inner)


def seen(**headers: str) -> dict[str, str]:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        told.update(Request(scope).headers)
        await PlainTextResponse("", headers=OURS)(scope, receive, send)

    told: dict[str, str] = {}
    ask(inner, **headers)
    return told


@pytest.mark.parametrize(
    ("asked", "passed"),
    [("2", "2.500"), ("0.01", "0.510"), ("soon", None), ("-1", None), ("inf", None), ("nan", None)],
)
def test_the_caller_s_deadline_is_ray_s_too(asked: str, passed: str | None) -> None:
    told = seen(x_request_timeout=asked)
    assert told.get("x-request-timeout-seconds") == passed
    assert told["x-request-timeout"] == asked


def test_callers_can_not_steer_ray_nor_forge_ids() -> None:
    told = seen(
        x_request_timeout_seconds="0",
        x_request_disconnect_disabled="?1",
        x_request_id="a b\x00<script>",
    )
    assert not {"x-request-timeout-seconds", "x-request-disconnect-disabled"} & set(told)
    assert len(told["x-request-id"]) == 32


def test_ray_s_own_pages_are_let_through() -> None:
    assert ask(PlainTextResponse("success"), "/-/healthz").text == "success"
    made: list[Callable[..., ASGIApp]] = [each.cls for each in middlewares()]
    assert made == [RayErrors]
    asyncio.run(RayErrors(lost)({"type": "lifespan"}, None, None))
