"""The example files for proxies and containers agree with the service's own limits."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.service.intake.upload import ENVELOPE
from app.service.lifecycle import CLOSE_SECONDS
from app.settings import Settings
from docs.memory_bound import OCCLUSIONS, most_memory
from weakpoints.engine.engine import BUDGET

ROOT = Path(__file__).parents[1]
SETTINGS = Settings()
AT_REST = 3 * 2**30  # a network, the libraries, and what CUDA takes of the host
SIZES = {"k": 2**10, "m": 2**20, "g": 2**30, "Mi": 2**20, "Gi": 2**30}


def number(text: str) -> float:
    """`21m`, `130s` or `8Gi`."""
    figure, unit = re.fullmatch(r"([\d.]+)(\w*)", text).groups()
    return float(figure) * SIZES.get(unit, 1)


def nginx() -> dict[str, str]:
    """Directives by name."""
    lines = (ROOT / "docs" / "nginx.conf").read_text().splitlines()
    code = (line.partition("#")[0].strip() for line in lines)
    return dict(line.rstrip(";").split(None, 1) for line in code if line.endswith(";"))


def deployment() -> dict[str, Any]:
    documents = yaml.safe_load_all((ROOT / "docs" / "kubernetes.yaml").read_text())
    (found,) = (each for each in documents if each["kind"] == "Deployment")
    return found["spec"]["template"]["spec"]


def slowest_end(drain_delay: float) -> float:
    """Seconds from SIGTERM to the end of the process, as `Server.stop` bounds them."""
    return drain_delay + SETTINGS.stop_timeout + CLOSE_SECONDS + 1


def test_nginx_lets_through_what_the_service_takes_and_waits_as_long() -> None:
    conf = nginx()
    body = SETTINGS.max_images * SETTINGS.max_bytes + ENVELOPE
    assert number(conf["client_max_body_size"]) >= body
    assert number(conf["keepalive_timeout"]) < SETTINGS.keep_alive
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        assert number(conf[name]) > SETTINGS.request_timeout
    assert "proxy_buffering" not in conf, "streams say themselves that they want none"


def test_kubernetes_gives_the_service_time_to_end_and_asks_its_probes() -> None:
    pod = deployment()
    (container,) = pod["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    for name in environment:
        assert name.removeprefix("WEAKPOINTS_").lower() in Settings.model_fields
    delay = float(environment["WEAKPOINTS_DRAIN_DELAY"])
    assert pod["terminationGracePeriodSeconds"] > slowest_end(delay)
    assert container["ports"][0]["containerPort"] == SETTINGS.port
    probes = {name: each["httpGet"]["path"] for name, each in container.items() if "Probe" in name}
    assert probes == {
        "startupProbe": "/startupz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    ready = container["readinessProbe"]["periodSeconds"]
    assert delay > 2 * ready, "no more requests come when it stops listening"


def test_compose_gives_the_service_time_to_end_and_as_much_memory_as_kubernetes() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    service = services["weakpoints"]
    assert number(service["stop_grace_period"]) > slowest_end(SETTINGS.drain_delay)
    (container,) = deployment()["containers"]
    memory = number(service["mem_limit"])
    assert memory == number(container["resources"]["limits"]["memory"])
    assert memory > AT_REST + OCCLUSIONS * BUDGET["cpu"] + most_memory(SETTINGS), "whatever is sent"
    assert service["ports"][0].endswith(f":{SETTINGS.port}")
    for name in service["environment"]:
        setting = name.removeprefix("WEAKPOINTS_").lower()
        assert name.startswith("OTEL_") or setting in Settings.model_fields


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        {"WEAKPOINTS_PORT": '"{port}"'},
        {"WEAKPOINTS_PORT": "tcp://10.96.12.34:80"},
        {"WEAKPOINTS_PORT": ""},
    ],
)
@pytest.mark.parametrize("status", [200, 503])
def test_the_healthcheck_asks_the_service_itself(environment: dict[str, str], status: int) -> None:
    """Where the port is not told, 8000 is asked, and nobody may listen there."""

    class Probe(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    asked: list[str] = []
    found = re.search(
        r"HEALTHCHECK.*?CMD (\[.*?\])\n", (ROOT / "Dockerfile").read_text(), re.DOTALL
    )
    assert found
    command = [sys.executable, *json.loads(found[1])[1:]]
    command[-1] = command[-1].replace("else 8000", "else {port}")
    with HTTPServer(("127.0.0.1", 0), Probe) as server:
        port = str(server.server_port)
        told = {"WEAKPOINTS_PORT": port} | environment
        told = {name: text.replace("{port}", port) for name, text in told.items()}
        command[-1] = command[-1].replace("{port}", port)
        threading.Thread(target=server.handle_request, daemon=True).start()
        done = subprocess.run(command, env=os.environ | told, capture_output=True, check=False)
    assert (done.returncode == 0) == (status == 200), done.stderr.decode()
    assert asked == ["/livez"]


def test_a_pod_gets_no_variables_of_its_own_service() -> None:
    assert deployment()["enableServiceLinks"] is False
