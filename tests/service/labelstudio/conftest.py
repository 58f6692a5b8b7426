"""A Label Studio of our own: it serves photographs, and notes what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.landmarks.conftest import PLACES, scene
from tests.service import encoded

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <KeyPointLabels name="kp" toName="image">
    <Label value="nose"/><Label value="ear"/><Label value="tail"/><Label value="foot"/>
  </KeyPointLabels>
  <RectangleLabels name="box" toName="image"><Label value="beast"/></RectangleLabels>
</View>"""
project = {"number": 7}  # of the test that runs
KEY = "label-studio-key"


@dataclass
class LabelStudio:
    """answers: status, headers and body by path; asked: path and headers of each request."""

    url: str = ""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def photograph(self, path: str, shift: tuple[int, int] = (0, 0)) -> None:
        self.answers[path] = 200, {}, encoded(scene(shift))

    @property
    def photographs(self) -> list[str]:
        return [path for path, _ in self.asked if "/api/" not in path]


def handler_of(studio: LabelStudio) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            studio.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            status, headers, body = studio.answers.get(self.path, (404, {}, b"no"))
            self.send_response(status)
            length = {} if "transfer-encoding" in headers else {"content-length": str(len(body))}
            for name, value in (length | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # who has read enough goes
                self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, *args: object) -> None:
            """Nothing on stderr."""

    return Handler


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that are dropped are part of it."""


def served() -> Iterator[LabelStudio]:
    studio = LabelStudio()
    server = Server(("127.0.0.1", 0), handler_of(studio))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    studio.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield studio
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def label_studio_of_module() -> Iterator[LabelStudio]:
    yield from served()


@pytest.fixture
def label_studio(label_studio_of_module: LabelStudio) -> LabelStudio:
    label_studio_of_module.asked.clear()
    return label_studio_of_module


@pytest.fixture(autouse=True)
def a_project_that_is_seven() -> None:
    project["number"] = 7


@pytest.fixture
def other_server() -> Iterator[LabelStudio]:
    """A server that must not be asked."""
    yield from served()


def project_uid() -> str:
    """As Label Studio calls a project: its number, and when it was made."""
    return f"{project['number']}.1716300000"


def task(number: int, image: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "annotations": [], "predictions": []} | more


def annotation(number: int = 1, shift: tuple[int, int] = (0, 0), **names: str) -> dict[str, Any]:
    """What a person marked: the four landmarks of the scene, and a box around them."""
    size = {"original_width": 160, "original_height": 120, "image_rotation": 0}
    regions: list[dict[str, Any]] = [
        {
            "id": "b",
            "from_name": "box",
            "to_name": "image",
            "type": "rectanglelabels",
            "value": {"x": 5, "y": 5, "width": 90, "height": 90, "rectanglelabels": ["beast"]},
        }
        | size
    ]
    for name, (x, y) in zip(["nose", "ear", "tail", "foot"], PLACES + shift, strict=True):
        value = {
            "x": 100 * (x + 0.5) / 160,
            "y": 100 * (y + 0.5) / 120,
            "width": 0.6,
            "keypointlabels": [names.get(name, name)],
        }
        about = {"id": name, "from_name": "kp", "to_name": "image", "type": "keypointlabels"}
        regions.append(about | {"value": value} | size)
    return {"id": number, "result": regions, "was_cancelled": False}


def predicted(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The body that Label Studio sends to /predict."""
    params = {"login": None, "password": None, "context": more.pop("context", None)}
    return {
        "tasks": list(tasks),
        "project": project_uid(),
        "label_config": CONFIG,
        "params": params,
    } | more


def webhook(action: str, **more: Any) -> dict[str, Any]:
    return {
        "action": action,
        "project": {"id": project["number"], "title": "beasts", "label_config": CONFIG},
    } | more


def exported(*tasks: dict[str, Any]) -> bytes:
    return json.dumps(list(tasks)).encode()
