"""Requests to the Label Studio that is set, and to no other server."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import httpx2

from app.service.labelstudio.addresses import Origin
from weakpoints.errors import BadImage, DeadlinePassed, TooLarge, Unavailable

CONNECT_SECONDS = 5.0
ACCESS_SECONDS = 240.0  # that an access token is used; Label Studio's holds for five minutes
FETCHES_AT_ONCE = 8  # connections
REFRESH = "/api/token/refresh/"


class Fetcher:
    """One Label Studio: its address, and the key that is sent there.

    Redirects are not followed: they may lead anywhere. Environment variables for proxies and
    passwords of other hosts are not read.
    """

    def __init__(self, origin: Origin, key: str, max_bytes: int, seconds: float) -> None:
        """seconds: for one answer, from the first to the last byte."""
        self.origin, self._key = origin, key
        self.max_bytes, self._seconds = max_bytes, seconds
        self._access: tuple[str, float] = "", 0.0
        self._http = httpx2.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            verify=origin.scheme == "https",  # without TLS there are no authorities to read
            timeout=httpx2.Timeout(seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=FETCHES_AT_ONCE),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, url: str, what: str = "the photograph") -> bytes:
        """The body, at most `max_bytes`.

        url: of `photograph_url` or `Origin.api`. Raises BadImage for any other status than 200,
        TooLarge, Unavailable where nothing answers, DeadlinePassed where it takes too long.
        """
        try:
            with anyio.fail_after(self._seconds):
                async with self._answer("GET", url, await self._headers()) as answer:
                    self._check(answer, what)
                    return await self._body(answer, what)
        except TimeoutError as error:
            raise DeadlinePassed(
                f"{what} did not come from Label Studio in {self._seconds:g} s",
                limit=self._seconds,
            ) from error

    @asynccontextmanager
    async def _answer(
        self, method: str, url: str, headers: Mapping[str, str], **more: object
    ) -> AsyncIterator[httpx2.Response]:
        try:
            async with self._http.stream(method, url, headers=headers, **more) as answer:  # type: ignore[arg-type]
                yield answer
        except httpx2.TimeoutException as error:
            raise TimeoutError from error
        except httpx2.HTTPError as error:
            raise Unavailable(
                f"Label Studio does not answer at LABEL_STUDIO_URL: {type(error).__name__}",
                retry_after=5,
            ) from error

    def _check(self, answer: httpx2.Response, what: str) -> None:
        if answer.is_redirect:
            raise BadImage(
                f"{what} is elsewhere: Label Studio answers {answer.status_code}, a redirect, "
                "which is not followed; turn off pre-signed URLs of its storage",
                actual=answer.status_code,
            )
        if answer.status_code in (401, 403):
            raise BadImage(
                f"Label Studio answers {answer.status_code} for {what}: LABEL_STUDIO_API_KEY is "
                "not set, or not one that may read it",
                actual=answer.status_code,
            )
        if answer.status_code != 200:
            raise BadImage(
                f"Label Studio answers {answer.status_code} for {what}", actual=answer.status_code
            )
        if (packed := answer.headers.get("content-encoding", "identity")) != "identity":
            raise BadImage(f"{what} came packed ({packed[:40]}), which was not asked for")
        stated = answer.headers.get("content-length", "")
        if stated.isdecimal() and len(stated) < 20:
            self._check_size(int(stated), what)

    async def _body(self, answer: httpx2.Response, what: str) -> bytes:
        body = bytearray()
        async for piece in answer.aiter_raw(2**16):  # it is not packed, see `_check`
            body += piece
            self._check_size(len(body), what)
        return bytes(body)

    def _check_size(self, count: int, what: str) -> None:
        if count > self.max_bytes:
            raise TooLarge(
                f"{what} has {count} bytes or more; at most {self.max_bytes} are accepted",
                limit=self.max_bytes,
                actual=count,
            )

    async def _headers(self) -> dict[str, str]:
        """A legacy token goes as it is; a personal one (a JWT) is exchanged for an access token."""
        identity = {"accept-encoding": "identity"}
        if not self._key:
            return identity
        if self._key.count(".") != 2:
            return identity | {"authorization": f"Token {self._key}"}
        token, until = self._access
        if time.monotonic() >= until:
            token = await self._refreshed()
            self._access = token, time.monotonic() + ACCESS_SECONDS
        return identity | {"authorization": f"Bearer {token}"}

    async def _refreshed(self) -> str:
        url, sent = self.origin.api(REFRESH), {"refresh": self._key}
        headers = {"accept-encoding": "identity"}
        async with self._answer("POST", url, headers, json=sent) as answer:
            self._check(answer, "an access token")
            body = await self._body(answer, "an access token")
        try:
            token = json.loads(body).get("access")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str):
            raise BadImage("Label Studio gave no access token for LABEL_STUDIO_API_KEY")
        return token
