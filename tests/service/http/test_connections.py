import resource

import pytest

from app.service.http.connections import OTHER_FILES, PROBE_CONNECTIONS, Connections


class Connection:
    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def opened(connections: Connections, count: int, busy: bool = False) -> list[Connection]:
    made = [Connection() for _ in range(count)]
    for connection in made:
        connections.opened(connection)
        if busy:
            connections.busy(connection)
    return made


def test_one_more_closes_the_one_that_is_idle_for_longest() -> None:
    connections = Connections(3)
    first, second, third = opened(connections, 3)
    connections.busy(first)
    connections.idle(first)
    opened(connections, 1)
    assert [each.aborted for each in (first, second, third)] == [False, True, False]
    assert not connections.crowded


def test_where_none_is_idle_some_more_are_kept_for_probes_and_no_more() -> None:
    connections = Connections(3)
    busy = opened(connections, 3, busy=True)
    assert not connections.crowded
    probes = opened(connections, PROBE_CONNECTIONS, busy=True)
    assert connections.crowded
    (refused,) = opened(connections, 1)
    assert refused.aborted
    assert not any(each.aborted for each in (*busy, *probes))
    for each in (*busy, *probes):
        connections.closed(each)
    assert not connections.crowded


def test_a_connection_that_is_closed_is_idle_no_more() -> None:
    connections = Connections(1)
    (gone,) = opened(connections, 1)
    connections.closed(gone)
    connections.idle(gone)
    opened(connections, 2)
    assert not gone.aborted


def test_the_bound_is_what_the_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (OTHER_FILES + PROBE_CONNECTIONS + 7, 4096)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    assert Connections(100).most == 7
    limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert Connections(100).most == 100
    limits = (1, 1)
    assert Connections(100).most == 1
