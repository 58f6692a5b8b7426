"""The page of named points in a real browser, where there is one."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.service import encoded, serving
from tests.service.api.test_pages import browser, needs_browser  # noqa: F401 (a fixture)
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.method.detector import Detector

pytestmark = [needs_browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[httpx2.Client]:
    with serving(lambda: detector) as client:
        yield client


@pytest.fixture
def page(client: httpx2.Client, browser: Browser) -> Iterator[Page]:  # noqa: F811
    page = browser.new_page(viewport={"width": 1000, "height": 900}, accept_downloads=True)
    page.goto(f"{str(client.base_url).rstrip('/')}/named")
    page.click("#example")
    expect(page.locator("#editor")).to_be_visible()
    expect(page.locator("#marks")).to_have_attribute("viewBox", "-0.5 -0.5 224 224")
    yield page
    page.close()


def put(page: Page, x: float, y: float) -> None:
    box = page.locator("#marks").bounding_box()
    assert box
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def places(page: Page) -> list[tuple[float, float]]:
    circles = page.locator("#marks circle")
    return [
        (float(each.get_attribute("cx") or 0), float(each.get_attribute("cy") or 0))
        for each in circles.all()
    ]


def test_landmarks_are_put_named_dragged_moved_and_taken_away(page: Page) -> None:
    put(page, 0.25, 0.5)
    put(page, 0.75, 0.5)
    assert places(page) == [
        pytest.approx((55.5, 111.5), abs=1.5),
        pytest.approx((167.5, 111.5), abs=1.5),
    ]
    name = page.get_by_label("name of landmark 1")
    name.fill("nose")
    name.press("Tab")
    expect(page.locator("#marks text").first).to_have_text("nose")
    box = page.locator("#marks circle").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 40)
    page.mouse.up()
    dragged = places(page)[0]
    assert dragged[0] > 65
    page.locator("#marks g").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    moved = places(page)[0]
    assert moved == pytest.approx((dragged[0] + 1, dragged[1] + 10), abs=0.01)
    page.keyboard.press("Delete")
    assert len(places(page)) == 1
    page.get_by_label("take point 2 away").click()
    assert places(page) == []
    page.get_by_label("name of landmark 1").press("Enter")  # the keyboard alone
    assert places(page) == [(112, 112)]


def test_the_same_names_are_found_on_other_photographs(
    page: Page, tmp_path: Path, photograph: np.ndarray
) -> None:
    put(page, 0.3, 0.3)
    put(page, 0.7, 0.6)
    good, bad = tmp_path / "other.png", tmp_path / "broken.png"
    good.write_bytes(encoded(photograph))
    page.set_input_files("#others", [str(good)])
    article = page.locator("#found article")
    expect(article.locator("text").first).to_have_text("point 1")
    expect(article.locator("p").first).to_contain_text("of 2 landmarks are sure")
    assert article.locator("svg g").first.get_attribute("class") in ("sure", "unsure")
    bad.write_bytes(b"no")
    page.set_input_files("#others", [str(bad)])
    expect(page.locator("#status")).to_have_text("broken.png can't be shown by this browser")
    expect(page.locator("#found article")).to_have_count(1)
    with page.expect_download() as download:
        page.click("#set")
    assert LandmarkSet.load(Path(download.value.path())).names == ("point 1", "point 2")
    with page.expect_download() as download:
        page.click("#coco")
    coco = json.loads(Path(download.value.path()).read_text())
    assert [each["file_name"] for each in coco["images"]] == ["example.png", "other.png"]
    assert coco["categories"][0]["keypoints"] == ["point 1", "point 2"]


def test_a_box_of_the_object_is_drawn_or_written(
    page: Page, tmp_path: Path, photograph: np.ndarray
) -> None:
    put(page, 0.3, 0.3)
    other = tmp_path / "other.png"
    other.write_bytes(encoded(photograph))
    page.set_input_files("#others", [str(other)])
    field = page.locator("#found input")
    expect(field).to_have_value("")
    page.locator("#found svg").scroll_into_view_if_needed()
    stage = page.locator("#found svg").bounding_box()
    assert stage
    page.mouse.move(stage["x"] + 0.25 * stage["width"], stage["y"] + 0.25 * stage["height"])
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.75 * stage["width"], stage["y"] + 0.75 * stage["height"])
    page.mouse.up()
    expect(page.locator("#found rect")).to_have_count(1)
    x, y, w, h = map(int, field.input_value().split(","))
    height, width, _ = photograph.shape
    assert (x, y, w, h) == pytest.approx((width / 4, height / 4, width / 2, height / 2), abs=3)
    field.fill("0, 0, 9999, 9")
    field.press("Enter")
    expect(page.locator("#status")).to_contain_text("is not inside the image")
    page.locator("#found input").fill("")
    page.locator("#found input").press("Enter")
    expect(page.locator("#found rect")).to_have_count(0)


def test_the_page_is_accessible(page: Page, tmp_path: Path, photograph: np.ndarray) -> None:
    put(page, 0.3, 0.3)
    other = tmp_path / "other.png"
    other.write_bytes(encoded(photograph))
    page.set_input_files("#others", [str(other)])
    expect(page.locator("#found article")).to_have_count(1)
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
