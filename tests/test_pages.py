"""The page in a real browser, where there is one."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from app.pipeline import Detector
from tests.service import encoded, serving

BROWSER = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium")


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[httpx2.Client]:
    with serving(lambda: detector) as client:
        yield client


@pytest.fixture(scope="module")
def page(client: httpx2.Client) -> Iterator[Page]:
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=BROWSER, args=FLAGS) as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 800}, accept_downloads=True)
        page.goto(str(client.base_url))
        yield page


@pytest.fixture
def photo(tmp_path: Path, photograph: np.ndarray) -> Path:
    path = tmp_path / "it's a photo.png"
    path.write_bytes(encoded(photograph))
    return path


def test_page_and_reference_name_no_other_host_and_all_they_name_is_here(client: httpx2.Client) -> None:
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
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_contain_text("keypoints in")
    rings = page.locator("#points g")
    total = rings.count()
    assert total > 1
    rings.first.focus()
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
def test_the_curl_command_is_copied_with_the_name_quoted(page: Page, photo: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_input_files("#file", photo)
    expect(page.locator("#result")).to_be_visible()
    page.click("#curl")
    expect(page.locator("#status")).to_have_text("Copied.")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("curl -F image=@'it'\\''s a photo.png' http://127.0.0.1:")


@needs_browser
def test_what_the_service_refuses_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_bytes(b"no picture")
    page.set_input_files("#file", tmp_path / "text.png")
    expect(page.locator("#status.error")).to_contain_text("JPEG")
    expect(page.locator("#result")).to_be_hidden()


@needs_browser
def test_nothing_is_wider_than_a_phone(page: Page, photo: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.set_input_files("#file", photo)
    expect(page.locator("#result")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1100, "height": 800})


@needs_browser
def test_the_reference_lists_the_operations(page: Page, client: httpx2.Client) -> None:
    page.goto(f"{client.base_url}/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    assert page.locator(".opblock").count() >= 5
    page.goto(str(client.base_url))
