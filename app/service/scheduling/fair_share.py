"""How many seconds of something shared each caller has used; who used least is next.

Fair queueing (Demers, Keshav and Shenker 1989) with costs that are measured after the fact. Each
caller has a virtual time: the seconds that its requests took. The virtual time of the whole service
goes on as if every caller that is present had an equal share. A newcomer starts there, so neither
many requests nor many newcomers delay one that waits.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from heapq import heapify, heappop, heappush

SMOOTHING = 0.9  # weight of the earlier mean when a request's seconds update it


class FairShare:
    """Not for several threads at once."""

    def __init__(self) -> None:
        self._now = 0.0  # virtual time of the service, in seconds
        self._used: dict[str, float] = {}  # virtual time of each caller
        self._running = Counter[str]()
        self._mean_seconds = 1.0  # expected of a request that has begun and not ended

    def enqueue(self, caller: str) -> None:
        """A request of this caller waits from now on."""
        # A caller that was away has saved nothing up: it starts at the service's time.
        self._used[caller] = max(self._used.get(caller, 0.0), self._now)

    def next(self, callers: Sequence[str]) -> int:
        """Index of the request to start, among the waiting ones' callers in order of arrival."""
        chosen = min(range(len(callers)), key=lambda i: self._claimed(callers[i]))
        self._running[callers[chosen]] += 1
        return chosen

    def order(self, callers: Sequence[str], seconds: Sequence[float]) -> Iterator[int]:
        """Indices of the waiting ones as they will start, if each takes its seconds and none comes.

        callers: in order of arrival; they need not have been enqueued.
        """
        queues: dict[str, deque[int]] = {}
        for index, caller in enumerate(callers):
            queues.setdefault(caller, deque()).append(index)
        heap = [(self._claimed(caller), queue[0], caller) for caller, queue in queues.items()]
        heapify(heap)
        while heap:
            used, index, caller = heappop(heap)
            yield index
            queues[caller].popleft()
            if queues[caller]:
                heappush(heap, (used + seconds[index], queues[caller][0], caller))

    def next_preemptor(self, callers: Sequence[str], caller: str, seconds: float) -> int | None:
        """As `next`, among those who used less than `caller`, whose running request took `seconds`.

        None where nobody did.
        """
        used = self._used[caller] + seconds
        if not any(self._claimed(waiting) < used for waiting in callers):
            return None
        return self.next(callers)

    def charge(self, caller: str, seconds: float, waiting: Collection[str]) -> None:
        """A request that was started has ended. waiting: the callers of those that wait."""
        self._running[caller] -= 1
        self._used[caller] += seconds
        self._mean_seconds += (1 - SMOOTHING) * (seconds - self._mean_seconds)
        self._running = +self._running  # drops callers with nothing running
        # Seconds are shared among those who want them: absent callers gain nothing.
        present = {caller, *waiting, *self._running}
        self._now += seconds / len(present)
        # A caller that left and is not ahead of the service starts anew anyway: it is forgotten,
        # or the table would grow with every address that ever called.
        self._used = {
            who: used for who, used in self._used.items() if used > self._now or who in present
        }

    def _claimed(self, caller: str) -> float:
        """Seconds used, and expected of what runs: several at once must not look free."""
        return self._used.get(caller, self._now) + self._mean_seconds * self._running[caller]
