"""Both of Ray's engines on a local cluster of several nodes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import yaml
from pydantic import PydanticDeprecatedSince20

from app.batch.collection import open_collection
from app.batch.run import Engine, Summary, plain, run_batch
from app.cli import main as cli
from app.cluster.start import RAY_ENVIRONMENT, Share
from app.settings import Settings
from tests.service import encoded, picture, post, serving, until
from tests.toys import faulty_toy, lost_toy, quick, toy, toy_of
from weakpoints.options import Limits, choose

ray = pytest.importorskip("ray")
with warnings.catch_warnings():
    warnings.filterwarnings(
        "ignore", "Using extra keyword arguments on `Field`", PydanticDeprecatedSince20
    )  # Ray's own schemas
    from app.cluster.data import on_ray
    from app.cluster.serving import DEPLOYMENT, application, start
from ray.cluster_utils import Cluster  # noqa: E402
from ray.serve.schema import ServeDeploySchema  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings(  # Ray sets them itself
        "ignore:.use_(push_based_shuffle|polars|arrow_tensor_v2). is deprecated:DeprecationWarning"
    ),
]
ROOT = Path(__file__).parents[2]
with socket.create_server(("127.0.0.1", 0)) as free:
    PORT = free.getsockname()[1]
FILES = ("keypoints.coco.json", "keypoints.parquet")
COVERAGE = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
QUICK = {"patch": 14, "stride": 14}


def test_the_manifests_are_what_ray_and_the_settings_accept() -> None:
    deployed = yaml.safe_load((ROOT / "docs" / "ray-serve.yaml").read_text())
    (app,) = ServeDeploySchema.model_validate(deployed).applications
    assert app.import_path == f"{application.__module__}:{application.__name__}"
    assert Settings(**app.args).network == "vgg16"
    assert [each.name for each in app.deployments] == [DEPLOYMENT]
    service = yaml.safe_load((ROOT / "docs" / "kuberay.yaml").read_text())
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == deployed
    groups = service["spec"]["rayClusterConfig"]
    for group in (groups["headGroupSpec"], *groups["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert {each["name"]: each["value"] for each in container["env"]} == RAY_ENVIRONMENT
    pod = groups["workerGroupSpecs"][0]["template"]["spec"]
    (weights,), (container,) = pod["initContainers"], pod["containers"]
    assert weights["command"] == ["weakpoints", "weights", "pull", app.args["network"]]
    mounted = container["volumeMounts"][0]
    assert mounted == weights["volumeMounts"][0] | {"readOnly": True}
    replica = app.deployments[0].ray_actor_options
    assert container["resources"]["limits"]["nvidia.com/gpu"] == replica.num_gpus == 1


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of two logical cores, each a set of processes of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in RAY_ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(ROOT))
        for name in COVERAGE:  # Ray kills its processes before they could save what they covered
            patch.delenv(name, raising=False)
        node = {"num_cpus": 2, "object_store_memory": 80 * 2**20}
        soon = {
            "health_check_period_ms": 1000,
            "health_check_failure_threshold": 3,  # until a lost node is known to be lost
            "worker_niceness": 0,  # 15, which is Ray's own, waits for whatever else is busy
        }
        bare = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
        cluster = Cluster(
            initialize_head=True, head_node_args=node | bare | {"_system_config": soon}
        )
        cluster.add_node(**node)
        ray.init(address=cluster.address)
        yield cluster
        ray.serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


LIMITS = {"queue_size": 8, "max_bytes": 200_000}


@pytest.fixture(scope="module")
def replicas(cluster: Cluster) -> None:
    start(Settings(port=PORT, **LIMITS), Share(2, 0.5), partial(toy, 0.1, "first"))


@pytest.fixture
def client(replicas: None) -> Iterator[httpx2.Client]:
    with httpx2.Client(
        base_url=f"http://127.0.0.1:{PORT}",
        timeout=60,
        params=QUICK,
        limits=httpx2.Limits(max_connections=None),
    ) as client:
        yield client


def under_load(
    client: httpx2.Client, callers: int, change: Callable[[Counter[int]], object], least: int
) -> tuple[Counter[int], list[httpx2.Response]]:
    """Statuses and refusals of callers that ask one photograph after the other until `change` is
    over.

    Each photograph has its own width. `change` sees the statuses so far.
    """
    over, statuses, refusals, asked = threading.Event(), Counter[int](), [], iter(range(100, 10**6))

    def call() -> None:
        while not over.is_set() or statuses[200] < least:
            width = next(asked)
            answer = post(client, width)
            statuses[answer.status_code] += 1
            if answer.status_code == 200:
                assert answer.json()["image"]["width"] == width
            else:
                refusals.append(answer)
                time.sleep(0.1)

    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call) for _ in range(callers)]
        try:
            change(statuses)
        finally:
            over.set()
        for each in calls:
            each.result()
    return statuses, refusals


JPEG = {"content-type": "image/jpeg"}
STREAM = {"accept": "text/event-stream", "content-type": "image/png"}
QUESTIONS: list[dict[str, Any]] = [
    *(
        {"method": "GET", "url": f"/{path}"}
        for path in ("model", "livez", "readyz", "startupz", "v2/health/live", "v2/health/ready")
    ),
    *(
        {"method": "GET", "url": f"/{path}"}
        for path in ("", "docs", "openapi.json", "page/page.js", "nowhere", "detect")
    ),
    {
        "url": "/detect",
        "files": {"image": ("p", picture(90), "image/png")},
        "params": {"seed": 3, "top_classes": 2},
    },
    {
        "url": "/detect",
        "files": [("image", ("a", picture(97))), ("image", ("b", b"%PDF-1.7"))],
        "data": {"note": "text"},
    },
    {
        "url": "/detect",
        "files": {"image": ("p", picture(98))},
        "headers": {"accept": "application/x-ndjson"},
    },
    {"url": "/detect", "content": picture(91), "headers": STREAM},
    {
        "url": "/heatmap",
        "content": picture(92),
        "headers": JPEG,
        "params": {"style": "gray16", "size": "network"},
    },
    {"url": "/detect", "content": picture(93), "headers": JPEG | {"x-request-id": "abc-1.2_3"}},
    {"url": "/detect", "content": picture(94), "headers": JPEG, "params": {"patch": 0}},
    {"url": "/detect", "content": picture(94), "headers": JPEG, "params": {"luck": 1}},
    {"url": "/detect", "content": picture(95)[:300], "headers": JPEG},
    {"url": "/detect", "content": b"%PDF-1.7", "headers": JPEG},
    {"url": "/detect", "content": b"", "headers": JPEG},
    {"url": "/detect", "content": b"x" * 300_000, "headers": JPEG},
    {"url": "/detect", "json": {"image": "data"}},
    {"url": "/detect", "content": picture(96), "headers": JPEG | {"x-request-timeout": "0.000001"}},
    {"url": "/detect", "content": picture(96), "headers": JPEG | {"x-request-timeout": "soon"}},
]


def answer(client: httpx2.Client, question: dict[str, Any]) -> tuple[object, ...]:
    """All but what no two answers share: the request's id, and how long it took."""
    got = client.request(**{"method": "POST"} | question)
    kind, text = got.headers["content-type"], got.text
    if asked := dict(question.get("headers", {})).get("x-request-id"):
        assert got.headers.get_list("x-request-id") == [asked]
    for volatile in (r'"(id|request_id)":"[0-9a-f]{32}"', r'"timing_ms":{[^}]*}'):
        text = re.sub(volatile, "", text)
    kept = (
        "allow",
        "cache-control",
        "cache-status",
        "retry-after",
        "x-map-min",
        "x-map-max",
        "x-accel-buffering",
        "x-content-type-options",
        "content-security-policy",
    )
    return (
        got.status_code,
        kind,
        got.content if kind == "image/png" else text,
        [got.headers.get(name) for name in kept],
    )


def test_both_engines_answer_the_same(client: httpx2.Client) -> None:
    with serving(partial(toy, 0.1, "first"), **LIMITS) as plain:
        answers = [(answer(plain, question), answer(client, question)) for question in QUESTIONS]
    for question, (ours, rays) in zip(QUESTIONS, answers, strict=True):
        assert rays == ours, question
    assert Counter(ours[0] for ours, _ in answers) == {
        200: 16,
        422: 3,
        404: 1,
        405: 1,
        400: 2,
        413: 1,
        415: 2,
        504: 1,
    }


def test_requests_spread_over_replicas_and_one_scrape_tells_all(client: httpx2.Client) -> None:
    statuses, _ = under_load(client, 4, lambda statuses: None, least=40)
    assert set(statuses) == {200}
    text = client.get("/metrics").text
    shares = [
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("weakpoints_request_seconds_count")
        and 'route="/detect",status="200"' in line
    ]
    assert len(shares) == 2
    assert sum(shares) >= 40
    assert min(shares) > 0
    assert text.count("weakpoints_ready{") == 2


def test_a_killed_replica_loses_nothing_but_a_retry(client: httpx2.Client) -> None:
    def kill(statuses: Counter[int]) -> None:
        until(lambda: statuses[200] >= 6)  # each caller's first: both replicas are at work
        next_kill = 0.0

        def refused() -> bool:
            """One that was idle when it was killed is not missed: then another is killed."""
            nonlocal next_kill
            if time.monotonic() >= next_kill:
                actors = ray.util.list_named_actors(all_namespaces=True)
                names = [
                    each["name"] for each in actors if f"{DEPLOYMENT}#{DEPLOYMENT}" in each["name"]
                ]
                ray.kill(ray.get_actor(names[0], namespace="serve"))
                next_kill = time.monotonic() + 15
            return statuses[503] > 0

        until(refused)

    statuses, refusals = under_load(client, 6, kill, least=30)
    assert set(statuses) <= {200, 503}
    for answer in refusals:
        assert answer.headers["retry-after"]
        assert answer.json()["type"] == "urn:weakpoints:problem:unavailable"
    assert statuses[503], "the replica was killed while it had requests"


def test_what_is_too_much_is_refused_with_a_time_to_wait(client: httpx2.Client) -> None:
    answers: list[httpx2.Response] = []

    def crowd() -> bool:
        answers.extend(pool.map(partial(post, client), range(70, 130)))
        return any(each.status_code == 429 for each in answers)

    with ThreadPoolExecutor(60) as pool:
        until(crowd)  # a slow machine may need another to make it
    assert {each.status_code for each in answers} == {200, 429}
    for refusal in (each for each in answers if each.status_code == 429):
        assert int(refusal.headers["retry-after"]) == refusal.json()["retry_after"] >= 1
        assert refusal.json()["type"] == "urn:weakpoints:problem:queue-full"


def test_a_new_network_drops_nothing_and_is_made_again_when_its_device_is_lost(
    client: httpx2.Client,
) -> None:
    """And a caller that hangs up stops its work. One test: each deployment starts new processes."""

    def names() -> set[str]:
        return set(re.findall(r'weakpoints_ready{replica="(\w+)"}', client.get("/metrics").text))

    def replace(statuses: object) -> None:
        start(Settings(port=PORT, **LIMITS), Share(1, 0.5), faulty_toy)

    statuses, _ = under_load(client, 4, replace, least=20)
    assert set(statuses) == {200}
    assert {client.get("/model").json()["name"] for _ in range(10)} == {"toy"}
    with client.stream("POST", "/detect", content=picture(70), headers=STREAM) as answer:
        assert any("progress" in part for part in answer.iter_text()), (
            "the device works on it, for as long as somebody waits"
        )
    assert post(client, 90).status_code == 200, "or the device would work on it still"
    (before,) = names()
    lost = post(client, 72)
    assert (lost.status_code, lost.json()["type"]) == (503, "urn:weakpoints:problem:device-lost")
    until(lambda: post(client, 91).status_code == 200)
    assert names() != {before}


@contextmanager
def command(log: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """`weakpoints serve --engine ray` with room for one who is looked at and one who waits; ended
    if it runs still.
    """
    environment = (
        os.environ
        | COVERAGE
        | {"RAY_ADDRESS": address, "WEAKPOINTS_QUEUE_SIZE": "1", "WEAKPOINTS_UPLOADS": "1"}
    )
    asked = [
        sys.executable,
        "-m",
        "weakpoints",
        "serve",
        "--engine",
        "ray",
        "--port",
        str(PORT),
        "--cpus",
        "2",
    ]
    with log.open("w") as stderr:
        process = subprocess.Popen(asked, env=environment, cwd=ROOT, stderr=stderr)
    try:
        yield process
    finally:  # or its replica would keep a node's cores from the tests that follow
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


def serves(client: httpx2.Client, network: str) -> bool:
    """Whether the network is there already: its application takes another one's place."""
    try:
        return bool(client.get("/model").json().get("name") == network)
    except httpx2.TransportError:  # Ray's proxy drops connections while it is told of it
        return False


def test_the_command_serves_the_bundled_network_until_sigterm(
    client: httpx2.Client, cluster: Cluster, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with command(log, cluster.address) as process, ThreadPoolExecutor(16) as pool:
        until(partial(serves, client, "bundled"))
        client.params = {"stride": 6}  # 324 boxes: long enough for all to come meanwhile
        answers = list(pool.map(partial(post, client), range(90, 106)))
        assert {each.status_code for each in answers} == {200, 429}, (
            "one is looked at, one waits in Ray's queue, the others are refused"
        )
        assert any("every replica is busy" in each.text for each in answers)
        with client.stream("POST", "/detect", content=picture(106), headers=STREAM) as last:
            said = last.iter_text()
            assert "event: progress" in next(text for text in said if "progress" in text)
            process.send_signal(signal.SIGTERM)
            assert "event: result" in "".join(said)
        assert process.wait(60) == 0, log.read_text()
    gone = client.get("/model")
    assert (gone.status_code, gone.json()["type"]) == (503, "urn:weakpoints:problem:unavailable")


def test_a_batch_is_the_same_by_both_engines(
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        (photos / f"{i}.png").write_bytes(picture(70 + i))
    (photos / "broken.png").write_bytes(picture(70)[:100])
    monkeypatch.setattr("app.loading.loaded", toy_of)
    made = {}
    for engine in ("plain", "ray"):
        out = tmp_path / engine
        assert (
            cli.main(
                [
                    "batch",
                    str(photos),
                    "--out",
                    str(out),
                    "--engine",
                    engine,
                    "--json",
                    "--patch",
                    "14",
                    "--stride",
                    "14",
                ]
            )
            == 1
        )
        said = json.loads(capsys.readouterr().out)
        assert (said["done"], said["failed"]) == (6, 1)
        made[engine] = [(out / name).read_bytes() for name in (*FILES, "rows.jsonl")]
    assert made["ray"] == made["plain"], "and rows come in the order of the names by both"


def test_a_batch_whose_device_is_lost_ends_in_one_sentence(
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "photo.png").write_bytes(picture(70))
    monkeypatch.setattr("app.loading.loaded", lost_toy)
    assert (
        cli.main(["batch", str(tmp_path), "--out", str(tmp_path / "out"), "--engine", "ray"]) == 1
    )
    said = capsys.readouterr().err
    assert said.endswith("weakpoints: a worker gave up: the device is gone; go on with --resume\n")


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 photographs, each of its own, every hundredth of them broken."""
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0)
    for i in range(1000):
        data = encoded(noise.integers(0, 255, (20, 24, 3), np.uint8))
        (folder / f"{i:04}.png").write_bytes(data[:60] if i % 100 == 0 else data)
    return folder


def batch(folder: Path, out: Path, engine: Engine) -> tuple[Summary, list[bytes]]:
    summary = run_batch(
        engine,
        toy().model,
        choose(),
        open_collection(str(folder)),
        out,
        resume=False,
        progress=lambda lines, total: lines,
    )
    return summary, [(out / name).read_bytes() for name in FILES]


def test_a_node_lost_in_a_batch_of_a_thousand_changes_nothing(
    cluster: Cluster, thousand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ray.data.DataContext.get_current(), "execution_no_progress_timeout_s", 500
    )  # or a failure takes half an hour
    reader, marks, lost = (
        open_collection(str(thousand)).reader,
        tmp_path / "marks",
        cluster.list_all_nodes()[-1],
    )
    marks.mkdir()
    ray.serve.shutdown()  # each worker needs a whole node, and replicas of tests before hold cores
    until(lambda: ray.available_resources().get("CPU", 0) >= 4, 200)
    _, expected = batch(thousand, tmp_path / "plain", plain(quick(0), reader, choose(), Limits()))
    each_a_node = Share(workers=2, cpus=2)
    load = partial(quick, 0.01, marks, each_a_node.workers)
    whole = on_ray(load, each_a_node, reader, choose(), Limits())

    def losing(names: Sequence[str]) -> Iterator[str]:
        for done, line in enumerate(whole(names)):
            if done == 200:
                assert any(mark.name.startswith(lost.node_id) for mark in marks.iterdir()), (
                    "the node that goes has one of the two workers"
                )
                cluster.remove_node(lost, allow_graceful=False)
            yield line

    summary, found = batch(thousand, tmp_path / "ray", losing)
    assert (summary.done, summary.failed) == (990, 10)
    assert found == expected
    assert len(list(marks.iterdir())) > each_a_node.workers, (
        "the worker that went was made again: it had work left"
    )
