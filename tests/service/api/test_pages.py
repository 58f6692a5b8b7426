"""The page in a real browser, where there is one."""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from app.batch.coco import coco_category, coco_image
from app.schemas.answers import WireKeypoint
from tests.service import encoded, faulty, picture, serving, until
from weakpoints.method.detector import Detector

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_browser = pytest.mark.skipif(
    BROWSER is None and "CI" not in os.environ,
    reason="no Chromium here: apt-get install chromium (or brew install chromium) brings it",
)
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[httpx2.Client]:
    with serving(lambda: detector) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert BROWSER, "CI has to have Chromium: .ci/run installs it"
    expect.set_options(timeout=60_000)  # of a busy machine
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=BROWSER, args=FLAGS) as browser,
    ):
        yield browser


@pytest.fixture(scope="module")
def page(client: httpx2.Client, browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1100, "height": 800}, accept_downloads=True)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(str(client.base_url))
    return page


@pytest.fixture
def photo(tmp_path: Path, photograph: np.ndarray) -> Path:
    path = tmp_path / "it's a photo.png"
    path.write_bytes(encoded(photograph))
    return path


def test_page_and_reference_name_no_other_host_and_all_they_name_is_here(
    client: httpx2.Client,
) -> None:
    for where in ("/", "/docs"):
        answer = client.get(where, params={})
        assert answer.status_code == 200
        links = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
        assert len(links) >= 2
        for link in links:
            assert not link.startswith(("http", "//"))
            if not link.startswith("data:"):
                assert client.get(f"/{link}").status_code == 200, link
        assert "http" not in answer.text
    assert "default-src 'self'" in client.get("/").headers["content-security-policy"]


@needs_browser
def test_a_photograph_becomes_keypoints_layers_and_files(page: Page, photo: Path) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_contain_text(re.compile(r"\d keypoints (in \d|at once)"))
    rings = page.locator("#points g")
    total = rings.count()
    assert total > 1
    rings.last.focus()
    expect(page.locator("#about")).to_contain_text("confidence")
    for name in ("fused", "coarse", "fine"):
        before = page.get_attribute("#picture", "src")
        page.check(f"input[value={name}]")
        expect(page.locator("#picture")).not_to_have_attribute("src", before)
        assert page.evaluate("picture.decode().then(() => picture.naturalWidth)") == 160
    confidences = sorted(float(ring.get_attribute("data-confidence")) for ring in rings.all())
    page.fill("#threshold", f"{confidences[0] + 0.01:.2f}")
    expect(page.locator("#shown")).not_to_have_text(f"{total} of {total}")
    for button, suffix in (("json", ".json"), ("coco", ".coco.json"), ("png", ".png")):
        with page.expect_download() as download:
            page.click(f"#{button}")
        assert download.value.suggested_filename.endswith(suffix)
        data = Path(download.value.path()).read_bytes()
        if button == "coco":
            found = json.loads(data)["annotations"][0]
            assert 0 < found["num_keypoints"] < total
            assert len(found["keypoints"]) == 3 * found["num_keypoints"]
        assert button != "png" or data.startswith(b"\x89PNG")
    assert errors == []


@needs_browser
def test_the_curl_line_is_copied_with_the_classes_and_the_key(page: Page, photo: Path) -> None:
    page.set_input_files("#file", photo)
    expect(page.locator("#result")).to_be_visible()
    page.click("#curl")
    expect(page.locator("#status")).to_have_text("Copied.")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("""curl -F 'image=@"it'\\''s a photo.png"' 'http://127.0.0.1:""")
    assert text.endswith("/detect'")
    page.click("summary")
    page.fill("#key", "secret")
    page.click("#curl")
    page.fill("#key", "")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith('curl -H "Authorization: Bearer $WEAKPOINTS_KEY" -F ')


NAMES = (
    "photo, 2024; b.jpg",
    "a,b.jpg",
    "it's.jpg",
    'say "cheese".jpg',
    "back\\slash.jpg",
    'both \\" of them.jpg',
    "photo.jpg;type=text",
    "@home <1>.jpg",
    "$HOME `date` !!.jpg",
    "-o.jpg",
    "\u5199\u771f \u00e9.jpg",
    "no suffix",
)


@needs_browser
def test_the_curl_line_works_for_any_name(page: Page, photo: Path, tmp_path: Path) -> None:
    address = page.evaluate("new URL('detect?patch=14&stride=14', location.href).href")
    script = """async ([name, to]) =>
      (await import(new URL("page/files.js", location.href))).curl(name, to, false)"""
    for name in NAMES:
        (tmp_path / name).write_bytes(photo.read_bytes())
        line = page.evaluate(script, [name, address])
        ran = subprocess.run(["bash", "-c", line], capture_output=True, cwd=tmp_path)
        assert b'"keypoints"' in ran.stdout, (name, line, ran.stdout[:200], ran.returncode)


@needs_browser
@pytest.mark.parametrize("name", ["IMG_0001", "photo.jfif", "photo.jpg.part", "photo.txt", ".jpg"])
def test_a_photograph_is_one_by_its_bytes_whatever_its_name(
    page: Page, photo: Path, name: str
) -> None:
    named = photo.with_name(name)
    named.write_bytes(photo.read_bytes())
    page.reload()
    page.set_input_files("#file", named)
    expect(page.locator("#result")).to_be_visible()
    with page.expect_download() as download:
        page.click("#json")
    assert len(download.value.suggested_filename) > len(".json")


@needs_browser
def test_what_the_service_refuses_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_bytes(b"no picture")
    page.set_input_files("#file", tmp_path / "text.png")
    expect(page.locator("#status.error")).to_contain_text("JPEG")
    expect(page.locator("#result")).to_be_hidden()


DROPPED = """([name, data, kind]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const fields = { bubbles: true, cancelable: true };
  const event = kind === "drop"
    ? new DragEvent("drop", { ...fields, dataTransfer: transfer })
    : new ClipboardEvent("paste", { ...fields, clipboardData: transfer });
  document.body.dispatchEvent(event);
}"""


@needs_browser
@pytest.mark.parametrize("way", ["drop", "paste", "camera"])
def test_a_photograph_may_be_dropped_pasted_or_taken(page: Page, photo: Path, way: str) -> None:
    page.reload()
    if way == "camera":
        assert page.get_attribute("#camera", "capture") == "environment"
        page.set_input_files("#camera", photo)
    else:
        page.evaluate(DROPPED, ["p.png", base64.b64encode(photo.read_bytes()).decode(), way])
    expect(page.locator("#result")).to_be_visible()
    assert page.locator("#points g").count() > 1


@needs_browser
def test_the_keyboard_and_the_pointer_reach_everything(page: Page, photo: Path) -> None:
    page.reload()
    page.set_input_files("#file", photo)
    expect(page.locator("#result")).to_be_visible()
    rings = page.locator("#points g")
    page.locator("#file").focus()
    reached = []
    while "png" not in reached:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert len(reached) < 30
    assert {"camera", "INPUT", "threshold", "curl", "json", "coco"} <= set(reached)
    assert reached.count("g") == 1, "one Tab leads over all keypoints"
    rings.last.focus()
    for key, at in (("ArrowRight", 2), ("ArrowLeft", 1), ("End", rings.count()), ("Home", 1)):
        page.keyboard.press(key)
        expect(rings.nth(rings.count() - at)).to_be_focused()
        label = rings.nth(rings.count() - at).get_attribute("aria-label")
        expect(page.locator("#about")).to_have_text(label)
    page.locator("#threshold").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#from")).to_have_text("0.01")
    page.locator("input[value=photograph]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[value=fused]")).to_be_checked()
    rings.last.hover()
    expect(page.locator("#about")).to_have_text(rings.last.get_attribute("aria-label"))
    strongest, weakest = (rings.nth(i).locator(".ring") for i in (rings.count() - 1, 0))
    assert float(strongest.get_attribute("r")) > float(weakest.get_attribute("r"))
    assert strongest.get_attribute("stroke") != weakest.get_attribute("stroke")


@needs_browser
def test_one_class_or_two_are_explained_by_the_boxes_that_are_ticked(
    page: Page, client: httpx2.Client, photo: Path
) -> None:
    page.reload()
    page.set_input_files("#file", photo)
    boxes = page.locator("#classes input")
    expect(boxes).to_have_count(5)
    expect(boxes.first).to_be_checked()
    expect(page.locator("#points rect")).to_have_count(0)
    for at, ticked in ((1, [0, 1]), (2, [1, 2])):  # a third takes the place of the first
        boxes.nth(at).focus()
        page.keyboard.press("Space")
        for i in range(5):
            expect(boxes.nth(i)).to_be_checked(checked=i in ticked)
        expect(boxes.nth(at)).to_be_focused()
    expect(page.locator("#points rect").first).to_be_attached()
    assert page.locator("#points circle").count() > 1
    assert page.locator("#points g").last.locator("circle").count()  # inside a square it is seen
    page.check("input[value=all]")
    expect(page.locator("#maps img")).to_have_count(6)
    words = page.locator("#maps figcaption").all_text_contents()
    assert [each.split(", ")[0] for each in words] == ["coarse", "fine", "fused"] * 2
    pictures = {each.evaluate(PIXELS) for each in page.locator("#maps img").all()}
    assert len(pictures) == 6
    page.click("#curl")
    text = page.evaluate("navigator.clipboard.readText()")
    ids = [boxes.nth(at).get_attribute("value") for at in (1, 2)]
    assert f"target_class={ids[0]}%2C{ids[1]}" in text
    answer, coco = (downloaded(page, button) for button in ("#json", "#coco"))
    points = [WireKeypoint(**point) for point in answer["keypoints"]]
    labels = client.get("/model").json()["labels"]
    of = {int(each): [point for point in points if point.target == int(each)] for each in ids}
    assert coco["images"] == [coco_image(1, photo.name, 160, 120)]
    assert coco["categories"] == [coco_category(n, labels[n], len(of[n])) for n in of]


def test_maps_that_come_late_are_drawn_once(page: Page, photo: Path) -> None:
    """Another class is asked for while the maps of the first are on their way."""
    held: list[Route] = []
    hold = held.append

    def came(route: Route) -> None:
        hold(route)

    page.reload()
    page.route("**/heatmap?*", came)
    page.set_input_files("#file", photo)
    boxes = page.locator("#classes input")
    expect(boxes).to_have_count(5)
    page.check("input[value=all]")
    until(lambda: page.evaluate("1") and held)  # asking the page lets its requests come
    boxes.nth(1).check()
    expect(page.locator("#points rect").first).to_be_attached()
    hold = Route.continue_  # from here on nothing is held
    for route in held:  # those of one class, then those of two
        route.continue_()
    expect(page.locator("#maps img")).to_have_count(6)
    page.wait_for_load_state("networkidle")
    expect(page.locator("#maps img")).to_have_count(6)


def downloaded(page: Page, button: str) -> dict[str, Any]:
    with page.expect_download() as download:
        page.click(button)
    told: dict[str, Any] = json.loads(Path(download.value.path()).read_bytes())
    return told


PIXELS = """async (image) => {
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL();
}"""


@needs_browser
def test_several_photographs_are_looked_at_and_each_is_shown_or_refused_by_itself(
    page: Page, photo: Path, tmp_path: Path
) -> None:
    page.reload()
    other, wrong = tmp_path / "other.png", tmp_path / "wrong.txt"
    other.write_bytes(picture(90))
    wrong.write_bytes(b"no picture")
    page.set_input_files("#file", [photo, wrong, other])
    each = page.locator("#photographs button")
    expect(each).to_have_count(3)
    expect(each.nth(2)).not_to_contain_text("waits")
    expect(each.nth(1)).to_contain_text("refused")
    expect(each.nth(0)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#points")).to_have_attribute("viewBox", "-0.5 -0.5 160 120")
    each.nth(2).click()
    expect(page.locator("#points")).to_have_attribute("viewBox", "-0.5 -0.5 90 60")
    each.nth(1).click()
    expect(page.locator("#status.error")).to_contain_text("JPEG")
    expect(page.locator("#result")).to_be_hidden()


@needs_browser
@pytest.mark.parametrize(
    ("probability", "low_evidence", "says"),
    [
        (0.97, False, []),
        (0.3, False, ["not sure", "30 %"]),
        (0.97, True, ["hardly any evidence"]),
        (0.3, True, ["not sure", "hardly any evidence"]),
    ],
)
def test_what_the_network_is_unsure_of_is_said_in_words(
    page: Page,
    client: httpx2.Client,
    photo: Path,
    probability: float,
    low_evidence: bool,
    says: list[str],
) -> None:
    answer = client.post("/detect", files={"image": photo.read_bytes()}).json()
    answer["prediction"]["probability"] = probability
    answer["low_evidence"] = low_evidence
    body = f"event: result\ndata: {json.dumps(answer)}\n\n"
    page.reload()
    page.route("**/detect?*", lambda route: route.fulfill(body=body))
    page.set_input_files("#file", photo)
    expect(page.locator("#result")).to_be_visible()
    page.unroute("**/detect?*")
    expect(page.locator("#unsure")).to_be_visible(visible=bool(says))
    for words in says:
        expect(page.locator("#unsure")).to_contain_text(words)


@needs_browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 360)])
def test_axe_finds_nothing(page: Page, photo: Path, scheme: str, width: int) -> None:
    page.reload()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert wrong(page) == []
    page.set_input_files("#file", [photo, photo])
    expect(page.locator("#result")).to_be_visible()
    page.check("input[value=all]")
    expect(page.locator("#maps img")).to_have_count(3)
    assert wrong(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1100, "height": 800})


def wrong(page: Page) -> list[str]:
    """What axe-core says is wrong, and where."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


@needs_browser
def test_dark_is_dark_and_both_can_be_read(page: Page) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        grounds.append(ground)
        for selector in ("h1", "header p", "#status", "a"):
            ink = luminance(
                page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).color")
            )
            assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5, (scheme, selector)
    assert grounds[0] > 0.9 > 0.1 > grounds[1]


def luminance(colour: str) -> float:
    """WCAG's relative luminance of `rgb(r, g, b)`."""
    parts = np.array([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]) / 255
    return float(
        np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        @ (0.2126, 0.7152, 0.0722)
    )


@needs_browser
def test_the_progress_is_shown_and_nothing_is_asked_of_another_host(
    detector: Detector, browser: Browser, tmp_path: Path
) -> None:
    slow, wide = faulty(detector), tmp_path / "slow.png"
    wide.write_bytes(picture(70))
    with serving(lambda: slow) as client, closing(browser.new_page()) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(str(client.base_url))
        page.set_input_files("#file", wide)
        expect(page.locator("#status")).to_contain_text("1 of 2")
        expect(page.locator("#progress")).to_have_js_property("value", 0.5)
        page.reload()
        assert slow.stopped.wait(30), "a page that is left costs no device time"
        assert len(asked) > 3
        assert all(url.startswith((str(client.base_url), "data:", "blob:")) for url in asked)


def drop(page: Page, *files: Path) -> None:
    """As from a file manager."""
    data = {"items": [], "files": list(map(str, files)), "dragOperationsMask": 1}
    devtools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": 200, "y": 100, "data": data}
        devtools.send("Input.dispatchDragEvent", event)


def choose(page: Page, *files: Path) -> None:
    """By their paths: the browser reads them when they are sent."""
    devtools = page.context.new_cdp_session(page)
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    chosen = {"nodeId": root, "selector": "#file"}
    node = devtools.send("DOM.querySelector", chosen)["nodeId"]
    devtools.send("DOM.setFileInputFiles", {"files": list(map(str, files)), "nodeId": node})


@needs_browser
def test_a_line_is_copied_where_there_is_no_clipboard(
    browser: Browser, client: httpx2.Client, photo: Path
) -> None:
    with closing(browser.new_page()) as page:
        page.add_init_script("delete Navigator.prototype.clipboard")  # plain HTTP under a name
        page.goto(str(client.base_url))
        page.set_input_files("#file", photo)
        expect(page.locator("#result")).to_be_visible()
        page.click("#curl")
        expect(page.locator("#status")).to_have_text("Copied.")
        assert page.locator("textarea").count() == 0
        page.evaluate("document.execCommand = () => false")
        page.click("#curl")
        expect(page.locator("#status.error")).to_have_text("This browser does not let pages copy.")


@needs_browser
def test_a_folder_is_the_photographs_in_it(page: Page, photo: Path) -> None:
    folder = photo.parent / "folder"
    (folder / "inner").mkdir(parents=True)
    for name in ("a.png", "inner/b.png", "inner/notes.txt"):
        (folder / name).write_bytes(photo.read_bytes())
    drop(page, folder)
    expect(page.locator("#photographs button")).to_have_count(2)
    expect(page.locator("#result")).to_be_visible()
    empty = photo.parent / "empty"
    empty.mkdir()
    drop(page, empty)
    expect(page.locator("#status.error")).to_contain_text("no photograph")


@needs_browser
def test_a_file_that_changed_or_went_away_is_told_and_so_is_a_service_that_did(
    page: Page, photo: Path
) -> None:
    choose(page, photo)
    expect(page.locator("#status")).to_contain_text("keypoints")
    with photo.open("ab") as file:
        file.write(b"more")
    page.check("#classes input >> nth=1")
    expect(page.locator("#status.error")).to_contain_text("The file can't be read any more")
    choose(page, photo)
    expect(page.locator("#status")).to_contain_text("keypoints")
    photo.unlink()
    page.check("input[value=coarse]")
    expect(page.locator("#status.error")).to_contain_text("The file can't be read any more")
    page.context.set_offline(True)
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": picture(90)})
    expect(page.locator("#status.error")).to_contain_text("The service can't be reached")
    page.context.set_offline(False)


@needs_browser
def test_the_same_file_is_sent_again_and_what_has_no_file_in_it_is_told(
    page: Page, photo: Path
) -> None:
    for _ in range(2):
        with page.expect_request("**/detect?*"):
            choose(page, photo)
        expect(page.locator("#status")).to_contain_text("keypoints")
    for event in (
        "DragEvent('drop', {dataTransfer: d,",
        "ClipboardEvent('paste', {clipboardData: d,",
    ):
        page.set_input_files("#file", photo)
        expect(page.locator("#status")).to_contain_text("keypoints")
        page.evaluate(
            "() => { const d = new DataTransfer(); d.setData('text/uri-list', 'http://a.example/x.jpg');"
            f" document.body.dispatchEvent(new {event} bubbles: true}})) }}"
        )
        expect(page.locator("#status.error")).to_contain_text("no photograph")
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_contain_text("keypoints")
    page.evaluate(
        "() => { const d = new DataTransfer(); d.setData('text/plain', 'secret');"
        " document.getElementById('key').dispatchEvent("
        "new ClipboardEvent('paste', {clipboardData: d, bubbles: true})) }"
    )
    expect(page.locator("#status")).to_contain_text("keypoints")


@needs_browser
def test_nothing_is_wider_than_a_phone(page: Page, photo: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.set_input_files("#file", photo)
    expect(page.locator("#result")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1100, "height": 800})


@needs_browser
def test_the_reference_asks_behind_a_prefix_and_within_its_policy(
    browser: Browser, client: httpx2.Client
) -> None:
    """As behind a proxy that serves the service at `/prefix/`."""
    asked: list[str] = []
    problems: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(message.text)

    def proxy(route: Route) -> None:
        path = route.request.url.partition("/prefix")[2]
        asked.append(path)
        answer = client.get(path, params={})
        headers = {
            name: value for name, value in answer.headers.items() if name != "content-encoding"
        }
        route.fulfill(status=answer.status_code, headers=headers, body=answer.content)

    page = browser.new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.route("**/*", proxy)
    page.goto(f"{client.base_url}/prefix/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    assert page.locator(".opblock").count() >= 5
    model = page.locator("#operations-default-model")
    model.click()
    model.get_by_role("button", name="Try it out").click()
    model.get_by_role("button", name="Execute").click()
    expect(model.locator(".live-responses-table")).to_contain_text("vgg16")
    assert asked[-1] == "/model"
    assert not problems
    page.close()
