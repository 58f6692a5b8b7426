"""The image as a container host sees it: built, started, asked, stopped under load.

    python tests/container.py                       # podman, or --engine docker
    python tests/container.py --image weakpoints    # a built one

Builds the Dockerfile unmodified and runs it on the CPU as docker-compose.yml and
docker-compose.cpu.yml say (read-only root, noexec /tmp, uid 10001, no capability). Then it loads
Triton's launcher in the image, against a stub of libcuda, and compiles a kernel for a GPU: what a
GPU host's first launch needs. How to get podman and a base image where there is no Docker engine:
docs/operations.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
FILES = ("docker-compose.yml", "docker-compose.cpu.yml")
PROJECT = "weakpoints-test"
RUN_IN_TMP = "cp /bin/true /tmp/true && /tmp/true"
LOAD_LAUNCHER = """
import os, triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver
from weakpoints.engine.tiles.triton_kernels import _biased
assert os.getuid() == 10001 and "CC" not in os.environ
driver.CudaUtils()
print("Triton's launcher: loaded as uid", os.getuid())
arguments = dict(y="*fp16", bias="*fp16", out="*fp16", numbers="i32", channels="i32")
constants = dict(has_bias=True, relu=True, many=4096)
signature = arguments | dict.fromkeys(constants, "constexpr")
source = triton.compiler.ASTSource(_biased, signature, constants)
kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32))
print("a kernel for sm_90:", len(kernel.asm["cubin"]), "bytes")
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


class Compose:
    """The service as docker-compose.yml and its form for a CPU say."""

    def __init__(self, command: str, engine: Engine) -> None:
        self.command, self.engine = command.split(), engine

    def __call__(self, *arguments: str, check: bool = True) -> None:
        files = [f"--file={ROOT / name}" for name in FILES]
        command = [*self.command, *files, f"--project-name={PROJECT}", *arguments]
        publish = {"WEAKPOINTS_PUBLISH": f"127.0.0.1:{PORT}"}
        done = subprocess.run(
            command, env=os.environ | publish, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:], sep="\n")
            done.check_returncode()

    def container(self, service: str) -> str:
        """The id of its container, running or not."""
        labels = {"project": PROJECT, "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={labels[name]}" for name in labels]
        return self.engine("ps", "--all", "--quiet", *filters)

    @contextmanager
    def running(self) -> Iterator[str]:
        """The service's container, by its id; all are removed afterwards, with their volumes."""
        self("up", "--detach", "--no-build")
        try:
            yield self.container("weakpoints")
        finally:
            self("down", "--volumes", check=False)


def serves_and_drains(engine: Engine, compose: Compose) -> None:
    """Ready, answers, is healthy, and answers what it accepted after SIGTERM."""
    start = time.monotonic()
    with compose.running() as container:
        until(lambda: status("/readyz") == 200, lambda: engine("logs", container))
        print(f"compose up: ready after {time.monotonic() - start:.0f} s")
        code = exit_code(engine, compose.container("weights"))
        print(f"weights: exit {code}")
        assert code == "0"
        found = detect()
        label, points = found["prediction"]["label"], len(found["keypoints"])
        print(f"/detect: {label}, {points} keypoints, {found['timing_ms']['total']:.0f} ms")
        assert points
        check = engine("inspect", "--format", "{{json .Config.Healthcheck.Test}}", container)
        engine("exec", container, *json.loads(check)[1:])
        print("HEALTHCHECK passes")
        ran = engine("exec", container, "sh", "-c", f"({RUN_IN_TMP}) 2>&1 || id", check=False)
        print(f"a program in /tmp: {ran}")
        assert "Permission denied" in ran
        assert "uid=10001" in ran
        stops_under_load(engine, container)


def stops_under_load(engine: Engine, container: str) -> None:
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(len(detect(seed=1)["keypoints"])))
    before = looked_at()
    caller.start()
    until(lambda: looked_at() > before)  # the device has it
    start = time.monotonic()
    engine("stop", "-t", "40", container)
    caller.join()
    code = exit_code(engine, container)
    print(
        f"SIGTERM under load: exit {code} after {time.monotonic() - start:.0f} s, "
        f"{len(answers)} of 1 answered"
    )
    assert (code, len(answers)) == ("0", 1)


def gpu_is_asked_for(engine: Engine, image: str) -> None:
    """Without a GPU, `cuda` is one sentence and exit 1."""
    with engine.running(image, "--env=WEAKPOINTS_DEVICE=cuda") as container:
        code = engine("wait", container)
        log = subprocess.run([engine.name, "logs", container], capture_output=True, text=True)
        (said,) = (line for line in log.stderr.splitlines() if '"critical"' in line)
        print(f"cuda without a GPU: exit {code}: {json.loads(said)['message']}")
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


def detect(seed: int = 0) -> dict[str, Any]:
    """The answer for a photograph; one that was answered already comes from the cache."""
    photograph = (ROOT / "docs" / "overlay.png").read_bytes()
    request = urllib.request.Request(
        f"{URL}/detect?seed={seed}", photograph, {"Content-Type": "image/png"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def looked_at() -> float:
    """How often the device has begun with a photograph."""
    with urllib.request.urlopen(f"{URL}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next(
        float(line.split()[1]) for line in lines if line.startswith("weakpoints_batch_size_count")
    )


def exit_code(engine: Engine, container: str) -> str:
    return engine("inspect", "--format", "{{.State.ExitCode}}", container)


def until(true: Callable[[], object], logs: Callable[[], str] = str) -> None:
    """Raises AssertionError with the logs after 120 s."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() < start + 120, logs()
        time.sleep(0.2)


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
    parser.add_argument("--compose", help="its command; podman-compose, or docker compose")
    parser.add_argument("--build", nargs=argparse.REMAINDER, default=[], help="more for the build")
    asked = parser.parse_args()
    assert shutil.which(asked.engine), f"{asked.engine} is not installed"
    engine, image = Engine(asked.engine), asked.image or "weakpoints"
    asked.compose = asked.compose or {"podman": "podman-compose"}.get(
        asked.engine, "docker compose"
    )
    if not asked.image:
        engine.build(image, asked.build)
    elif image != "weakpoints":
        engine("tag", image, "weakpoints")  # as docker-compose.yml calls it
    serves_and_drains(engine, Compose(asked.compose, engine))
    gpu_is_asked_for(engine, image)
    loads_launcher(engine, image)


if __name__ == "__main__":
    main()
