"""A person in front of Swagger UI: a real Chromium against the real service."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from img_contract.testing import HANG_SECONDS
from img_testing.browser import opened
from PIL import Image
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
expect.set_options(timeout=HANG_SECONDS * 1000)

TOP = Path(__file__).parents[1]


@pytest.fixture
def page(service: Any) -> Iterator[Page]:
    with opened(f"{service.url}/") as page:
        yield page


def execute(page: Page, operation: str, fill: Callable[[Any], None]) -> Any:
    """Open an operation, try it out, fill it in, execute it; give its block."""
    block = page.locator(f"[id$='-{operation}']")
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    fill(block)
    block.get_by_role("button", name="Execute").click()
    return block


def live_answer(block: Any, status: str) -> Any:
    response = block.locator(".live-responses-table")
    expect(response.locator("tbody .response-col_status").first).to_contain_text(status)
    return response


def test_a_person_resizes_a_picture_in_swagger_ui(page: Page, service: Any) -> None:
    expect(page.locator(".info .title")).to_contain_text("Picture resizing in the background")

    def choose(block: Any) -> None:
        block.locator("tr[data-param-name=file] input[type=file]").set_input_files(TOP / "photo.jpg")
        block.locator("tr[data-param-name=width] input").fill("320")
        block.locator("tr[data-param-name=format] select").select_option("png")

    posted = live_answer(execute(page, "submit", choose), "202")
    body = posted.locator(".highlight-code, .microlight").first.inner_text()
    job_id = body.split('"id": "')[1].split('"')[0]
    assert service.ended(job_id).status == "done"

    def name_it(block: Any) -> None:
        block.locator("tr[data-param-name=guid] input").fill(job_id)

    status = live_answer(execute(page, "status", name_it), "200")
    expect(status).to_contain_text('"status": "done"')

    fetched = live_answer(execute(page, "result", name_it), "200")
    shown = fetched.locator("img")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [320, 213]
    with Image.open(io.BytesIO(service.fetch(job_id))) as image:
        assert (image.format, image.size) == ("PNG", (320, 213))


def test_a_person_who_forgets_the_size_is_told_what_is_missing(page: Page) -> None:
    def choose(block: Any) -> None:
        block.locator("tr[data-param-name=file] input[type=file]").set_input_files(TOP / "photo.jpg")

    answer = live_answer(execute(page, "submit", choose), "422")
    expect(answer).to_contain_text("expected width, height or variants")


def test_the_page_loads_nothing_from_elsewhere_and_reports_no_error(page: Page, service: Any) -> None:
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{service.url}/")
    expect(page.locator(".opblock").first).to_be_visible()
    assert len(asked) > 3
    assert [url for url in asked if not url.startswith((service.url, "data:"))] == []
    assert faults == []


def test_where_keys_are_asked_for_a_person_gives_theirs_once(make_service: Callable[..., Any], photo: bytes) -> None:
    key = "a key for the page"
    digest = hashlib.sha256(key.encode()).hexdigest()
    service = make_service(IMG_ACCESS__KEYS=json.dumps({"person": digest}))
    service.start_rest()
    with opened(f"{service.url}/") as page:

        def choose(block: Any) -> None:
            block.locator("input[type=file]").first.set_input_files(
                {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": photo}
            )
            block.locator("tr[data-param-name='width'] input").fill("100")

        block = execute(page, "submit", choose)
        live_answer(block, "401")
        page.get_by_role("button", name="Authorize").first.click()
        page.locator(".auth-container input").fill(key)
        page.locator(".auth-container").get_by_role("button", name="Authorize").click()
        page.locator(".auth-container").get_by_role("button", name="Close").click()
        block.get_by_role("button", name="Execute").click()
        live_answer(block, "202")
