"""The image as a container host sees it: built, started, asked, stopped under load.

    python tests/container.py                       # podman, or --engine docker
    python tests/container.py --image weakpoints    # a built one

Builds the Dockerfile unmodified and runs it on the CPU, confined as docker-compose.yml says
(read-only root, noexec /tmp, uid 10001, no capability). Then it loads Triton's launcher in the
image, against a stub of libcuda: what a GPU host's first launch needs. How to get podman and a
base image where there is no Docker engine: docs/operations.md.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
PORT = 8123
URL = f"http://127.0.0.1:{PORT}"
CONFINED = [
    "--init",
    "--read-only",
    "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=1g",
    "--user=10001",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=8g",
    "--pids-limit=512",
]
LOAD_LAUNCHER = """
import os, subprocess, sys
from triton.backends.nvidia import driver
assert os.getuid() == 10001 and "CC" not in os.environ
driver.CudaUtils()
print("Triton's launcher: loaded as uid", os.getuid())
"""


class Engine:
    """`docker` or `podman`, which take the same arguments."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """What it prints. Raises CalledProcessError, after showing what it said, where it fails."""
        done = subprocess.run([self.name, *arguments], capture_output=True, text=True, check=False)
        if check and done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:], sep="\n")
            done.check_returncode()
        return done.stdout.strip()

    def build(self, image: str, more: list[str]) -> None:
        start = time.monotonic()
        layers = ["--format=docker"] if self.name == "podman" else []  # OCI drops HEALTHCHECK
        self("build", *layers, *more, "--tag", image, str(ROOT))
        size = int(self("image", "inspect", "--format", "{{.Size}}", image))
        print(f"built in {time.monotonic() - start:.0f} s, {size / 1e9:.2f} GB")

    @contextmanager
    def running(self, image: str, *arguments: str) -> Iterator[str]:
        """A confined container of the image, by its id; removed afterwards."""
        confined = [*CONFINED, *(["--read-only-tmpfs=false"] if self.name == "podman" else [])]
        container = self("run", "--detach", *confined, *arguments, image)
        try:
            yield container
        finally:
            self("rm", "--force", container, check=False)


def serves_and_drains(engine: Engine, image: str) -> None:
    """Ready, answers, is healthy, and answers what it accepted after SIGTERM."""
    publish = f"--publish=127.0.0.1:{PORT}:8000"
    cpu = ["--env=WEAKPOINTS_DEVICE=cpu", "--env=WEAKPOINTS_NETWORK=efficientnet_lite0"]
    with engine.running(image, publish, *cpu) as container:
        start = time.monotonic()
        while status("/readyz") != 200:
            assert time.monotonic() < start + 120, engine("logs", container)
            time.sleep(0.2)
        print(f"ready after {time.monotonic() - start:.0f} s")
        found = detect()
        label, points = found["prediction"]["label"], len(found["keypoints"])
        print(f"/detect: {label}, {points} keypoints, {found['timing_ms']['total']:.0f} ms")
        assert points
        check = engine("inspect", "--format", "{{json .Config.Healthcheck.Test}}", container)
        engine("exec", container, *json.loads(check)[1:])
        print("HEALTHCHECK passes")
        answers: list[int] = []
        callers = [threading.Thread(target=lambda: answers.append(len(detect()["keypoints"])))]
        callers[0].start()
        while status("/metrics") != 200:
            time.sleep(0.1)
        time.sleep(0.5)  # the request is with the service by now; if not, it is refused and fails
        engine("stop", "--time", "40", container)
        callers[0].join()
        code = engine("inspect", "--format", "{{.State.ExitCode}}", container)
        print(f"SIGTERM under load: exit {code}, {len(answers)} of 1 answered")
        assert (code, len(answers)) == ("0", 1)


def gpu_is_asked_for(engine: Engine, image: str) -> None:
    """Without a GPU, `cuda` is one sentence and exit 1."""
    with engine.running(image, "--env=WEAKPOINTS_DEVICE=cuda") as container:
        code = engine("wait", container)
        log = subprocess.run([engine.name, "logs", container], capture_output=True, text=True)
        print(f"cuda without a GPU: exit {code}: {log.stderr.strip().splitlines()[-1]}")
        assert code == "1"


def loads_launcher(engine: Engine, image: str) -> None:
    """Without a compiler, on a read-only root, from a folder that may execute."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "load.py").write_text(LOAD_LAUNCHER)
        started = [
            "run",
            "--rm",
            *CONFINED,
            f"--volume={folder}:/load:ro",
            "--env=LD_LIBRARY_PATH=/opt/triton/stub",
            image,
            "python",
            "/load/load.py",
        ]
        print(engine(*started))
        compilers = "import shutil; print([c for c in ('cc', 'gcc', 'clang') if shutil.which(c)])"
        found = engine("run", "--rm", *CONFINED, image, "python", "-c", compilers)
        print(f"compilers in the image: {found}")
        assert found == "[]"


def detect() -> dict[str, object]:
    photograph = (ROOT / "docs" / "overlay.png").read_bytes()
    request = urllib.request.Request(f"{URL}/detect", photograph, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def status(path: str) -> int:
    try:
        with urllib.request.urlopen(URL + path, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--engine", choices=["podman", "docker"], default="podman")
    parser.add_argument("--image", help="a built one; none: build it")
    parser.add_argument("--build", nargs=argparse.REMAINDER, default=[], help="more for the build")
    asked = parser.parse_args()
    assert shutil.which(asked.engine), f"{asked.engine} is not installed"
    engine, image = Engine(asked.engine), asked.image or "weakpoints"
    if not asked.image:
        engine.build(image, asked.build)
    serves_and_drains(engine, image)
    gpu_is_asked_for(engine, image)
    loads_launcher(engine, image)


if __name__ == "__main__":
    main()
