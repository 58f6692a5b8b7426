"""The Dockerfile where no container engine is: its steps in order in chroots, then its CMD as docker-compose.yml confines it, probed and stopped.

As root, with what `debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates trixie BASE` left in BASE, and BASE's
/usr/local/bin/python a link to its python3, as the official image has it:

    python tests/container.py BASE WORK      # WORK: an empty folder with 20 GB of room
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PORT = 8123
CONFINED = [
    "setpriv",
    "--reuid=10001",
    "--regid=10001",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all",
    "--bounding-set=-all",
]


@dataclass
class Stage:
    """One FROM: a root, and what later steps inherit."""

    root: Path
    folder: str = "/"
    user: str = "root"
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    )
    healthcheck: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def run(self, step: str) -> None:
        mounted = f"mount --rbind /dev {self.root}/dev && mount -t proc proc {self.root}/proc && chroot {self.root} /bin/sh -c "
        inside = shlex.quote(f"cd {self.folder} && {step}")
        subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-ec", mounted + inside],
            env=self.environment,
            check=True,
        )

    def copy(self, sources: list[Path], target: str) -> None:
        to = self.root / Path(self.folder, target).relative_to("/")
        for source in sources:
            into = to / source.name if len(sources) > 1 or target.endswith("/") else to
            (into if source.is_dir() else into.parent).mkdir(parents=True, exist_ok=True)
            start = f"{source}/." if source.is_dir() else str(source)
            subprocess.run(
                ["cp", "--archive", "--reflink=auto", "--no-preserve=ownership", start, str(into)],
                check=True,
            )

    def start(
        self, command: list[str], quiet: bool = False, **more: str
    ) -> subprocess.Popen[bytes]:
        """As uid 10001 without any capability, on a read-only root, with /tmp in memory: what docker-compose.yml says."""
        at = str(self.root)
        script = (
            f"mount --bind {at} {at} && mount -o remount,ro,bind {at} && mount --rbind /dev {at}/dev && mount -t proc proc {at}/proc && "
            f"mount -t tmpfs tmpfs {at}/tmp && exec chroot {at} {shlex.join(CONFINED)} "
            f"/bin/sh -c {shlex.quote(f'cd {self.folder} && exec {shlex.join(command)}')}"
        )
        errors = subprocess.DEVNULL if quiet else None
        return subprocess.Popen(
            ["unshare", "--mount", "/bin/sh", "-ec", script],
            env=self.environment | more,
            stderr=errors,
        )


def build(base: Path, work: Path) -> Stage:
    """The last stage."""
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace(
        "\\\n", " "
    )
    for number, line in enumerate(filter(None, text.splitlines())):
        print(f"--- {line}", flush=True)
        word, _, rest = line.partition(" ")
        match word:
            case "FROM":
                name = rest.partition(" AS ")[2] or str(number)
                subprocess.run(
                    ["cp", "--archive", "--reflink=auto", str(base), str(work / name)], check=True
                )
                stage = stages[name] = Stage(work / name)
            case "RUN":
                stage.run(rest)
            case "WORKDIR":
                stage.folder = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "COPY":
                *names, target = rest.split()
                origin = (
                    stages[names.pop(0).removeprefix("--from=")].root
                    if names[0].startswith("--from=")
                    else ROOT
                )
                stage.copy([origin / name.lstrip("/") for name in names], target)
            case "ENV":
                pairs = dict(pair.split("=", 1) for pair in rest.split())
                stage.environment |= {
                    name: value.replace("$PATH", stage.environment["PATH"])
                    for name, value in pairs.items()
                }
            case "USER":
                stage.user = rest
            case "HEALTHCHECK":
                stage.healthcheck = json.loads(rest.partition("CMD ")[2])
            case "CMD":
                stage.command = json.loads(rest)
            case "EXPOSE":
                pass
            case _:
                raise SystemExit(f"{word}: not known here")
    return stage


def check(image: Stage) -> None:
    assert image.user == "10001"
    port = {"WEAKPOINTS_PORT": str(PORT)}
    process = image.start(image.command, **port)
    try:
        start = time.monotonic()
        while image.start(image.healthcheck, quiet=True, **port).wait() != 0:
            assert process.poll() is None, "CMD ended"
            assert time.monotonic() < start + 120, "HEALTHCHECK never passed"
            time.sleep(1)
        print(f"HEALTHCHECK passes after {time.monotonic() - start:.0f} s")
        url = f"http://127.0.0.1:{PORT}"
        while _status(f"{url}/readyz") != 200:
            time.sleep(1)
        photo = (ROOT / "docs" / "overlay.png").read_bytes()
        asked = urllib.request.Request(f"{url}/detect", photo, {"Content-Type": "image/png"})
        found = json.load(urllib.request.urlopen(asked, timeout=120))
        print(
            f"/detect: {found['prediction']['label']}, {len(found['keypoints'])} keypoints, {found['timing_ms']['total']:.0f} ms"
        )
        status = Path(f"/proc/{process.pid}/status").read_text()
        print(
            "\n".join(
                line
                for line in status.splitlines()
                if line.startswith(("Uid", "CapEff", "CapBnd", "NoNewPrivs", "VmRSS"))
            )
        )
        assert found["keypoints"]
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, "SIGTERM did not end it with 0"
    print("SIGTERM: exit 0")
    assert image.start(["python", "-c", "open('/srv/x', 'w')"], quiet=True).wait() != 0, (
        "the root is not read-only"
    )


def _status(url: str) -> int:
    try:
        return int(urllib.request.urlopen(url, timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code


if __name__ == "__main__":
    if os.geteuid() or len(sys.argv) != 3:
        sys.exit(__doc__)
    base, work = map(Path, sys.argv[1:])
    check(build(base.resolve(), work.resolve()))
