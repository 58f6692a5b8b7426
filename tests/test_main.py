"""`app.main`, as users of uvicorn and FastAPI expect it."""

import subprocess
import sys
from pathlib import Path

from tests.service import post, process


def test_uvicorn_serves_the_application_by_its_name(tmp_path: Path) -> None:
    with process(tmp_path / "log", "-m uvicorn app.main:app") as (_, client):
        answer = post(client, 90)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["name"] == "bundled"


def test_importing_it_loads_no_network_which_start_up_does_and_no_tracing_or_torchvision() -> None:
    """Weights that are not there would be an error: it comes once the application starts.

    torchvision's import takes seconds, and the networks that come with the install do without it.
    Numba is for the bundled one alone.
    """
    program = """
import asyncio, logging, sys
from weakpoints.loading import load_detector
from app.main import app
from app.settings import Settings
print("imported", app.state.service.started)
heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "torchvision", "torch._dynamo")
load_detector(Settings().manifest, "efficientnet_lite0")
print([name for name in sys.modules if name.startswith((*heavy, "numba", "triton"))])
load_detector(Settings().manifest, "bundled")
print([name for name in sys.modules if name.startswith(heavy)])
async def main():
    stopped = asyncio.Event()
    app.state.service.stop = stopped.set
    async with app.router.lifespan_context(app):
        await stopped.wait()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"WEAKPOINTS_NETWORK": "nothing", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "imported False\n[]\n[]\n"
    assert "the service can't start" in done.stderr
    assert "nothing" in done.stderr
