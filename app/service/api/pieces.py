"""An answer that is large: sent as fast as it is read."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 2**18  # bytes


class Pieces(Response):
    """The next piece is sent when the system has taken the one before.

    So the end of sending is the end of what the answer holds in memory.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        for at in range(0, max(1, len(self.body)), PIECE):
            end = at + PIECE
            piece = {"body": self.body[at:end], "more_body": end < len(self.body)}
            await send({"type": "http.response.body", **piece})
