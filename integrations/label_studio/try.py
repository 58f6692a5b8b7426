"""A real Label Studio with a project of twenty photographs, predicted by weakpoints.

    pip install label-studio playwright     # in an environment of its own
    python integrations/label_studio/try.py --annotations landmarks.json --category face \\
        --images photos --weakpoints /path/to/weakpoints --page page.png

It starts both, connects the backend, labels three tasks through Label Studio's SDK with what the
COCO file has, retrieves predictions for the rest and says how far they are from what it has.
`--page` is a picture of the labelling page, taken with Chromium.
"""

import argparse
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import requests
from label_studio_sdk import LabelStudio

TOKEN, USER, PASSWORD = "c0ffee" * 6 + "cafe", "try@example.com", "correct-horse"
LOCAL = {  # Label Studio calls no server on this machine unless it is told that it may
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
}
PATIENCE = 900  # seconds until a server that was started must answer


def main() -> None:
    given = arguments()
    coco = json.loads(given.annotations.read_text())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        studio_port, service_port = free_port(), free_port()
        studio = f"http://127.0.0.1:{studio_port}"
        stack.enter_context(label_studio(studio_port, folder))
        stack.enter_context(weakpoints(given.weakpoints, service_port, studio, folder))
        client = LabelStudio(base_url=studio, api_key=TOKEN)
        known = photographs(coco, given.category, given.count)
        project = new_project(client, studio, known, given.images)
        backend = f"http://127.0.0.1:{service_port}/labelstudio"
        client.ml.create(url=backend, project=project, title="weakpoints")
        figures = labelled_and_predicted(client, studio, project, known, given.label)
        print(json.dumps(figures, indent=2))
        if given.page:
            page(studio, project, figures["shown"], given.page)
        if given.keep:
            input(f"{studio}/projects/{project} ({USER}, {PASSWORD}); Enter ends it")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--annotations", type=Path, required=True, help="COCO keypoints")
    parser.add_argument("--images", type=Path, required=True, help="folder of its photographs")
    parser.add_argument("--category", required=True)
    parser.add_argument("--count", type=int, default=20, help="photographs in the project")
    parser.add_argument("--label", type=int, default=3, help="tasks that are labelled")
    parser.add_argument("--weakpoints", default="weakpoints", help="the command")
    parser.add_argument("--page", type=Path, help="picture of the labelling page to write")
    parser.add_argument("--keep", action="store_true", help="leave both running until Enter")
    return parser.parse_args()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def started(command: list[str], ready: str, log: Path, **environment: str) -> Iterator[None]:
    """A server, until it is no longer needed."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + PATIENCE
        while not answers(ready):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} does not answer:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def label_studio(port: int, folder: Path):  # type: ignore[no-untyped-def]
    command = shutil.which("label-studio", path=str(Path(sys.executable).parent)) or "label-studio"
    words = ["start", "--no-browser", "--data-dir", str(folder / "studio"), "--port", str(port)]
    words += ["--username", USER, "--password", PASSWORD, "--user-token", TOKEN]
    words += ["--enable-legacy-api-token", "--internal-host", "127.0.0.1"]
    ready = f"http://127.0.0.1:{port}/health"
    return started([command, *words], ready, folder / "studio.log", **LOCAL)


def weakpoints(command: str, port: int, studio: str, folder: Path):  # type: ignore[no-untyped-def]
    ready = f"http://127.0.0.1:{port}/readyz"
    environment = {"LABEL_STUDIO_URL": studio, "LABEL_STUDIO_API_KEY": TOKEN}
    words = [command, "serve", "--port", str(port)]
    return started(words, ready, folder / "weakpoints.log", **environment)


def photographs(coco: dict[str, Any], category: str, count: int) -> dict[str, dict[str, Any]]:
    """By file name: size, and the place of each landmark from the corner."""
    (kind,) = (entry for entry in coco["categories"] if entry["name"] == category)
    images = {image["id"]: image for image in coco["images"]}
    known: dict[str, dict[str, Any]] = {}
    for annotation in coco["annotations"]:
        if annotation["category_id"] != kind["id"] or len(known) == count:
            continue
        image, triples = images[annotation["image_id"]], iter(annotation["keypoints"])
        points = dict(
            zip(kind["keypoints"], zip(triples, triples, triples, strict=True), strict=True)
        )
        known[image["file_name"]] = {
            "category": category,
            "size": (image["width"], image["height"]),
            "points": {name: (x, y) for name, (x, y, v) in points.items() if v == 2},
        }
    return known


def new_project(
    client: LabelStudio, studio: str, known: dict[str, dict[str, Any]], images: Path
) -> int:
    names = dict.fromkeys(name for about in known.values() for name in about["points"])
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in names)
    (category,) = {about["category"] for about in known.values()}
    config = (
        '<View><Image name="image" value="$image"/>'
        f'<KeyPointLabels name="points" toName="image">{labels}</KeyPointLabels>'
        '<RectangleLabels name="box" toName="image">'
        f"<Label value={quoteattr(category)}/></RectangleLabels></View>"
    )
    project = client.projects.create(title="weakpoints", label_config=config).id
    assert project is not None
    for name in known:
        address = f"{studio}/api/projects/{project}/import"
        files = {"file": (Path(name).name, (images / name).read_bytes())}
        headers = {"Authorization": f"Token {TOKEN}"}
        requests.post(address, files=files, headers=headers, timeout=60).raise_for_status()
    return project


def labelled_and_predicted(
    client: LabelStudio, studio: str, project: int, known: dict[str, dict[str, Any]], count: int
) -> dict[str, Any]:
    """How far the predicted points are from what the COCO file has."""
    by_name = {Path(name).name: about for name, about in known.items()}
    tasks = {}
    for task in client.tasks.list(project=project, fields="all"):
        name = Path(task.data["image"]).name.partition("-")[2]  # behind the mark of an upload
        tasks[task.id] = by_name[name]
    labelled = sorted(tasks)[:count]
    for task in labelled:
        client.annotations.create(id=task, result=regions(tasks[task]))
    start = time.perf_counter()
    rest = [task for task in sorted(tasks) if task not in labelled]
    client.actions.create(
        id="retrieve_tasks_predictions",
        project=project,
        selected_items={"all": False, "included": rest},
    )
    seconds = time.perf_counter() - start
    shares, predicted, versions = [], {}, set()
    for task in rest:
        for prediction in client.predictions.list(task=task):
            versions.add(prediction.model_version)
            predicted[task] = prediction.result
            shares += [distance for _, distance in distances(prediction.result, tasks[task])]
    marked = sum(len(tasks[task]["points"]) for task in rest)
    return {
        "tasks": len(tasks),
        "labelled": len(labelled),
        "predicted": len(predicted),
        "seconds": round(seconds, 1),
        "model_versions": sorted(map(str, versions)),
        "landmarks": marked,
        "points": len(shares),
        "median_share_of_extent": round(statistics.median(shares), 3) if shares else None,
        "within_a_tenth": round(sum(share <= 0.1 for share in shares) / max(1, len(shares)), 3),
        "shown": max(predicted, key=lambda task: len(predicted[task]), default=None),
    }


def regions(about: dict[str, Any]) -> list[dict[str, Any]]:
    """What a person would mark: the box, and points grouped below it."""
    width, height = about["size"]
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    xs, ys = zip(*about["points"].values(), strict=True)
    box = {
        "x": 100 * min(xs) / width,
        "y": 100 * min(ys) / height,
        "width": 100 * (max(xs) - min(xs)) / width,
        "height": 100 * (max(ys) - min(ys)) / height,
        "rotation": 0,
        "rectanglelabels": [about["category"]],
    }
    common = {"to_name": "image", **size}
    marked = [{"id": "box", "from_name": "box", "type": "rectanglelabels", "value": box, **common}]
    for name, (x, y) in about["points"].items():
        value = {
            "x": 100 * x / width,
            "y": 100 * y / height,
            "width": 0.6,
            "keypointlabels": [name],
        }
        about_point = {"id": f"p-{name}", "parentID": "box", "from_name": "points"}
        marked.append({**about_point, "type": "keypointlabels", "value": value, **common})
    return marked


def distances(result: list[dict[str, Any]], about: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Of each predicted point that is marked: how far it is, as a share of the longer side."""
    width, height = about["size"]
    xs, ys = zip(*about["points"].values(), strict=True)
    extent = max(max(xs) - min(xs), max(ys) - min(ys))
    for region in result:
        if region["type"] != "keypointlabels":
            continue
        (name,) = region["value"]["keypointlabels"]
        if name in about["points"]:
            x, y = region["value"]["x"] * width / 100, region["value"]["y"] * height / 100
            yield name, math.dist((x, y), about["points"][name]) / extent


def page(studio: str, project: int, task: int, file: Path) -> None:
    """The labelling page of a task, as a person sees it."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        view = window.new_page(viewport={"width": 1400, "height": 900})
        view.goto(f"{studio}/user/login/")
        view.fill("[name=email]", USER)
        view.fill("[name=password]", PASSWORD)
        view.click("button[type=submit]")
        view.goto(f"{studio}/projects/{project}/data?task={task}")
        view.wait_for_selector(".konvajs-content canvas", timeout=60_000)
        view.wait_for_load_state("networkidle")
        view.screenshot(path=str(file))
        window.close()


if __name__ == "__main__":
    main()
