"""Weights that are fetched: whole and right, whoever fetches at the same time."""

import dataclasses
import errno
import hashlib
import http.server
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.toys import LABELS
from weakpoints.errors import WeightsError
from weakpoints.networks.download import pull, verify
from weakpoints.networks.manifest import Entry

CONTENT = bytes(range(256)) * 4096


class Server(http.server.ThreadingHTTPServer):
    """asked: the ranges of the requests that came."""

    asked: list[str | None]


class Files(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; `/cut` ends early, `/whole` ignores ranges, `/wrong` sends other
    bytes.
    """

    asked: list[str | None]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        assert isinstance(self.server, Server)
        self.server.asked.append(asked)
        if self.path == "/missing":
            return self.send_error(404)
        body = b"x" * 1000 if self.path == "/wrong" else CONTENT
        start = (
            int(asked.removeprefix("bytes=").removesuffix("-"))
            if asked and self.path != "/whole"
            else 0
        )
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        length = "unknown" if self.path == "/odd" else str(len(body) - start)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(
            body[start : len(body) // 2] if self.path == "/cut" and not start else body[start:]
        )

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(files: type[Files]) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), files)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with served(Files) as server:
        yield server


@contextmanager
def heard(handler: logging.Handler) -> Iterator[None]:
    log = logging.getLogger("weakpoints")
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


def entry(path: Path, url: str | None = None, content: bytes = CONTENT, **changes: object) -> Entry:
    sha256 = hashlib.sha256(content).hexdigest()
    whole = Entry("toy", "resnet18", LABELS, 32, (0.5,) * 3, (0.5,) * 3, path, url, sha256, "none")
    return dataclasses.replace(whole, **changes)


def at(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_a_pulled_file_is_whole_and_verified_and_pulled_once(
    server: Server, tmp_path: Path
) -> None:
    toy = entry(tmp_path / "deep" / "toy.pth", at(server, "/file"))
    assert pull(toy).read_bytes() == CONTENT
    pull(toy)
    assert len(server.asked) == 1
    assert [path.name for path in toy.path.parent.iterdir()] == ["toy.pth"]


def test_a_cut_download_resumes_where_it_stopped(server: Server, tmp_path: Path) -> None:
    toy = entry(tmp_path / "toy.pth", at(server, "/cut"))
    with pytest.raises(WeightsError, match="Run the command again"):
        pull(toy, progress=False)
    assert not toy.path.exists()
    pull(toy, progress=False)
    assert toy.path.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_starts_from_the_beginning(server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy.pth.partial").write_bytes(b"something else")
    assert (
        pull(entry(tmp_path / "toy.pth", at(server, "/whole")), progress=False).read_bytes()
        == CONTENT
    )


def test_a_partial_that_is_already_whole_is_put_in_place(server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy.pth.partial").write_bytes(CONTENT)
    assert (
        pull(entry(tmp_path / "toy.pth", at(server, "/file")), progress=False).read_bytes()
        == CONTENT
    )


def test_wrong_bytes_are_deleted_and_both_digests_named(server: Server, tmp_path: Path) -> None:
    toy = entry(tmp_path / "toy.pth", at(server, "/wrong"))
    with pytest.raises(WeightsError, match="deleted") as raised:
        pull(toy, progress=False)
    assert raised.value.figures == {
        "expected": toy.sha256,
        "actual": hashlib.sha256(b"x" * 1000).hexdigest(),
    }
    assert not list(tmp_path.iterdir())


ODD = ["http://[bad/file", "http://127.0.0.1:9/\u00fc", "http://127.0.0.1:x/file", "http:///x"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/file", "file:///etc/hostname", *ODD])
def test_offline_or_not_http_is_one_sentence_that_says_what_to_do(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"put the file at .*toy\.pth yourself") as raised:
        pull(entry(tmp_path / "toy.pth", url), progress=False)
    assert "\n" not in str(raised.value)


def test_a_length_that_is_no_number_is_not_needed(server: Server, tmp_path: Path) -> None:
    toy = entry(tmp_path / "toy.pth", at(server, "/odd"))
    assert pull(toy, progress=False).read_bytes() == CONTENT


def test_a_missing_page_is_an_error_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="404"):
        pull(entry(tmp_path / "toy.pth", at(server, "/missing")), progress=False)
    assert not list(tmp_path.iterdir())


def test_what_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="weakpoints weights pull toy"):
        verify(entry(tmp_path / "toy.pth", "http://127.0.0.1:9/"))
    with pytest.raises(WeightsError, match="no address"):
        verify(entry(tmp_path / "toy.pth"))
    with pytest.raises(WeightsError, match="no address"):
        pull(entry(tmp_path / "toy.pth"))


@pytest.mark.parametrize("path", ["/file", "/whole", "/cut"])
def test_two_pulls_at_once_end_with_the_right_file(path: str, tmp_path: Path) -> None:
    """The second comes while the first has half of it, and goes on once the first has ended."""
    second_waits = threading.Event()

    class Slow(Files):
        def do_GET(self) -> None:
            second_waits.wait(10)
            super().do_GET()

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            second_waits.set()

    with served(Slow) as server, heard(Heard()), ThreadPoolExecutor(2) as threads:
        toy = entry(tmp_path / "toy.pth", at(server, path))
        for attempt in [threads.submit(pull, toy, progress=False) for _ in range(2)]:
            with suppress(WeightsError):  # of the one whose answer was cut short
                attempt.result()
        assert second_waits.is_set(), "one of them said that it waits for the other"
    assert toy.path.read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["toy.pth"]


def test_without_locks_each_attempt_has_a_file_of_its_own(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("weakpoints.networks.download.fcntl.flock", no_locks)
    (tmp_path / "toy.pth.partial").write_bytes(b"of another attempt")
    toy = entry(tmp_path / "toy.pth", at(server, "/file"))
    assert pull(toy, progress=False).read_bytes() == CONTENT
    assert (tmp_path / "toy.pth.partial").read_bytes() == b"of another attempt"
    with pytest.raises(WeightsError, match="deleted"):
        pull(entry(tmp_path / "else.pth", at(server, "/wrong")), progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"toy.pth", "toy.pth.partial"}


def test_a_wrong_file_in_place_is_kept_and_the_sentence_says_what_to_do(
    server: Server, tmp_path: Path
) -> None:
    toy = entry(tmp_path / "toy.pth", at(server, "/file"))
    toy.path.write_bytes(b"a network that was trained here")
    for use in (pull, verify):
        with pytest.raises(WeightsError, match=r"delete it or move it away, then .* pull toy"):
            use(toy)
    assert toy.path.read_bytes() == b"a network that was trained here"
    assert server.asked == []


def test_what_a_link_leads_to_is_not_written_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"another's")
    (tmp_path / "toy.pth.partial").symlink_to(tmp_path / "other")
    with pytest.raises(WeightsError, match="could not fetch"):
        pull(entry(tmp_path / "toy.pth", at(server, "/file")), progress=False)
    assert (tmp_path / "other").read_bytes() == b"another's"


def test_a_folder_in_place_of_the_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "toy.pth").mkdir()
    with pytest.raises(WeightsError, match=r"are not at .*toy\.pth"):
        pull(entry(tmp_path / "toy.pth", "http://127.0.0.1:9/"))
