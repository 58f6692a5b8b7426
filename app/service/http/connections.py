"""How many connections are open at the same time, and which one gives its place to a new one."""

import resource
from typing import Protocol

OTHER_FILES = (
    112  # files that the process may need beside its connections: libraries, pipes, decoders
)
PROBE_CONNECTIONS = (
    16  # connections beyond the bound, so that probes are answered when every place is taken
)


class Closable(Protocol):
    def abort(self) -> None: ...


class Connections:
    """The open connections that serve no request now, the longest idle first.

    `most` is the bound, or less where the process may not open so many files (`ulimit -n`).
    """

    def __init__(self, most: int) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = files == resource.RLIM_INFINITY
        self.most = (
            most if unlimited else max(1, min(most, files - OTHER_FILES - PROBE_CONNECTIONS))
        )
        self._open: set[Closable] = set()
        self._idle: dict[Closable, None] = {}  # a dict is in the order of insertion

    @property
    def crowded(self) -> bool:
        """Whether more than `most` are open; then only probes are answered."""
        return len(self._open) > self.most

    def opened(self, connection: Closable) -> None:
        """Closes the longest idle connection where there are too many.

        If none is idle, PROBES more are kept, for probes alone; then the new one is closed.
        """
        self._open.add(connection)
        if self.crowded and self._idle:
            longest = next(iter(self._idle))
            self.closed(longest)
            longest.abort()
        self.idle(connection)
        if len(self._open) > self.most + PROBE_CONNECTIONS:
            self.closed(connection)
            connection.abort()

    def idle(self, connection: Closable) -> None:
        if connection in self._open:
            self._idle[connection] = None

    def busy(self, connection: Closable) -> None:
        self._idle.pop(connection, None)

    def closed(self, connection: Closable) -> None:
        self._open.discard(connection)
        self.busy(connection)
