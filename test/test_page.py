"""A person in front of the page at /app: a real Chromium against the real service."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from axe_playwright_python.sync_playwright import Axe
from img_client import NotFound
from img_contract.job.resize import Resize
from img_contract.testing import HANG_SECONDS
from img_testing.browser import chromium, drop, visited
from img_testing.samples import encoded, photo
from img_testing.service import Service
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

pytestmark = pytest.mark.browser
expect.set_options(timeout=HANG_SECONDS * 1000)

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
LOOKS: dict[str, dict[str, Any]] = {"light": {}, "dark, phone": {"color_scheme": "dark", **PHONE}}
KEY = "a key for the page"
ENDED = ".done, .failed, .cancelled"
HOSTILE = """<img src=x onerror=alert(1)>;"$(id)'`, &amp;.png"""
NOTICES = """() => {
    window.notices = [];
    const notice = document.getElementById("notice");
    new MutationObserver(() => window.notices.push(notice.textContent)).observe(notice, { childList: true });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    with visited(browser, f"{service.url}/app") as page:
        ready(page)
        yield page


@pytest.fixture(scope="module")
def guarded(standing: Callable[..., Service]) -> Service:
    """A service under a prefix, with a key and an upload a second."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    service = standing(
        IMG_HTTP__PREFIX="/images", IMG_ACCESS__KEYS=json.dumps({"person": digest}), IMG_ACCESS__RATE="1/second"
    )
    service.start_rest()
    service.start_engine()
    return service


def ready(page: Page) -> None:
    expect(page.get_by_label("width", exact=True)).to_have_value("800")


def picture(name: str = "p.png", kind: str = "PNG", size: tuple[int, int] = (60, 40)) -> Any:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": encoded(photo(size), kind)}


def heic(name: str) -> Any:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(photo((60, 40))).save(buffer)
    return {"name": name, "mimeType": "image/heic", "buffer": buffer.getvalue()}


def choose(page: Page, *files: Any) -> None:
    page.locator("#files").set_input_files(list(files))


def row(page: Page, name: str) -> Locator:
    return page.locator("ol > li").filter(has=page.get_by_text(name, exact=True))


def opened(page: Page, name: str) -> Locator:
    """Open a row that is done, once its pictures are shown."""
    one = row(page, name)
    expect(one).to_have_class("done")
    one.locator(".open").click()
    for image in one.locator(".compare img").all():
        expect(image).to_have_js_property("complete", value=True)
        expect(image).not_to_have_js_property("naturalWidth", 0)
    return one


def request_as(one: Locator, language: str) -> str:
    one.get_by_text(language, exact=True).click()
    return one.locator("pre").inner_text()


def test_files_and_folders_are_dropped_and_come_back_smaller(page: Page, service: Service, tmp_path: Path) -> None:
    inner = tmp_path / "folder" / "inner"
    inner.mkdir(parents=True)
    (inner / "deep.png").write_bytes(picture()["buffer"])
    (inner / ".DS_Store").write_bytes(b"no picture")
    large = tmp_path / "large.jpg"
    large.write_bytes(encoded(photo((1600, 1000)), "JPEG"))
    drop(page, large, tmp_path / "folder")
    expect(page.locator("#rows > .done")).to_have_count(2)
    assert sorted(page.locator("#rows .name").all_inner_texts()) == ["deep.png", "large.jpg"]
    one = opened(page, "large.jpg")
    facts = one.locator(".facts").inner_text()
    assert re.fullmatch(r"\d+ KB → \d+ KB, −\d+ % · 800 × 500 · \d\.\d\d s", facts), facts
    expect(one.locator(".thumb.seen")).to_be_visible()
    job_id = one.get_by_role("link", name="Download").get_attribute("href") or ""
    assert service.client.fetch(job_id.rpartition("/")[2])
    with page.expect_download() as download:
        one.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "large-800x500.jpg"


def test_a_picture_that_is_chosen_before_the_fields_are_there_is_sent_with_what_they_say(page: Page) -> None:
    held: list[Route] = []
    page.route("**/swagger.json", lambda route: held.append(route))  # noqa: PLW0108  a built-in function will not do
    with page.expect_request("**/swagger.json"):
        page.reload()
    choose(page, picture(size=(900, 600)))
    row(page, "p.png").locator(".open").click()
    expect(row(page, "p.png").locator("pre")).to_contain_text("curl")
    held.pop().continue_()
    expect(page.locator("#rows .facts")).to_contain_text("800 × 533")
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_picture_is_pasted(browser: Browser, service: Service) -> None:
    with visited(browser, f"{service.url}/app", permissions=["clipboard-read", "clipboard-write"]) as page:
        ready(page)
        page.evaluate(
            """async (bytes) => navigator.clipboard.write(
                [new ClipboardItem({ "image/png": new Blob([new Uint8Array(bytes)], { type: "image/png" }) })])""",
            list(picture()["buffer"]),
        )
        page.keyboard.press("Control+V")
        expect(page.locator("#rows > .done")).to_have_count(1)
        page.get_by_role("button", name="Copy the link").click()
        expect(page.locator("#live")).to_contain_text("Copied")
        address = page.evaluate("navigator.clipboard.readText()")
        assert service.client.fetch(address.rpartition("/")[2])


def test_of_many_pictures_those_that_fail_say_why_and_stop_no_other(page: Page) -> None:
    files = [picture(f"{number}.png", size=(40 + number, 30)) for number in range(20)]
    pdf = {"name": "invoice.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7\n%"}
    whole = picture(kind="JPEG")
    broken = {**whole, "name": "broken.jpg", "buffer": whole["buffer"][: len(whole["buffer"]) // 2]}
    choose(page, *files[:10], pdf, broken, *files[10:])
    expect(page.locator("#sum")).to_contain_text("20 of 22 done · 2 failed")
    expect(row(page, "invoice.pdf").locator(".facts")).to_contain_text("found a PDF document")
    expect(row(page, "broken.jpg").locator(".facts")).to_contain_text("The picture is corrupt")
    expect(page.locator("#live")).to_contain_text("20 of 22 done")
    row(page, "broken.jpg").get_by_role("button", name="Try again").click()
    expect(page.locator("#sum")).to_contain_text("20 of 22 done · 2 failed")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    assert download.value.suggested_filename.endswith(".png")


def test_the_snippets_run_as_they_are_copied_whatever_the_name(page: Page, tmp_path: Path) -> None:
    choose(page, picture(HOSTILE))
    page.get_by_text("More", exact=True).click()
    page.get_by_label("grayscale").check()
    page.get_by_label("width", exact=True).fill("30")  # the last, so that its size is that of a picture with both
    expect(page.locator("#rows .facts")).to_contain_text("30 × 20")
    one = opened(page, HOSTILE)
    assert page.locator("main img[src='x']").count() == 0
    (tmp_path / HOSTILE).write_bytes(picture()["buffer"])
    commands = {"curl": ["bash", "-ec"], "Python": [sys.executable, "-c"]}
    if shutil.which("node"):
        commands["Node"] = ["node", "--input-type=module", "-e"]
    for language, command in commands.items():
        snippet = request_as(one, language)
        assert "wait" in snippet or language == "Python"
        assert "fit" not in snippet, "what is the default is left out"
        subprocess.run([*command, snippet], cwd=tmp_path, check=True, capture_output=True, timeout=HANG_SECONDS)
        with Image.open(tmp_path / "small.png") as image:
            assert (image.size, image.mode) == ((30, 20), "L"), language
        (tmp_path / "small.png").unlink()
    assert re.fullmatch(
        r'<picture>\n  <img src="http://\S+/resize/[0-9a-f-]{36}" width="30" height="20" alt="">\n</picture>',
        request_as(one, "<picture>"),
    )


def test_variants_give_a_picture_element_and_a_file_each(page: Page) -> None:
    page.get_by_label("width", exact=True).fill("")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("variants").fill("20w,30w,20w.webp,40w.webp")
    choose(page, picture())
    one = opened(page, "p.png")
    assert len(one.get_by_role("listitem").all()) == 4
    html = request_as(one, "<picture>")
    assert html.count("<source") == 2
    assert re.search(r'<img src="http://\S+/30w" width="30"', html), "of a type that all browsers show"
    assert re.search(r'<source type="image/webp" srcset="http://\S+ 20w, http://\S+ 40w">', html)


def test_a_change_of_a_parameter_asks_anew_and_a_wrong_one_fails_no_picture(page: Page) -> None:
    choose(page, picture())
    expect(page.locator("#rows .facts")).to_contain_text("60 × 40")
    before = page.locator("#rows .get").get_attribute("href")
    page.get_by_label("width", exact=True).fill("many")
    expect(page.get_by_role("alert")).to_contain_text(re.compile("^width: .*found 'many'$"))
    expect(page.get_by_label("width", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#rows > li")).to_have_class("waiting")
    page.get_by_label("width", exact=True).fill("50%")
    expect(page.locator("#rows .facts")).to_contain_text("30 × 20")
    expect(page.get_by_role("alert")).to_be_empty()
    assert page.locator("#rows .get").get_attribute("href") != before
    gone = page.evaluate("async (url) => (await fetch(url)).status", before)
    assert gone == 410, "the job that was asked anew is deleted"


def test_every_parameter_that_the_service_documents_can_be_set(page: Page) -> None:
    fields = page.locator("#settings [name]").evaluate_all("fields => fields.map((field) => field.name)")
    assert sorted(fields) == sorted(["watermark", *Resize.model_fields])
    line = page.locator("#line [name]").evaluate_all("fields => fields.map((field) => field.name)")
    assert line == ["width", "height", "fit", "format", "quality"]


def test_an_upload_tells_how_far_it_is_and_can_be_stopped(page: Page) -> None:
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 20_000}
    network.send("Network.emulateNetworkConditions", slow)
    choose(page, {**picture(), "buffer": encoded(Image.effect_noise((1000, 1000), 90), "PNG")})
    expect(page.locator("#rows .state")).to_have_text(re.compile(r"^uploading [1-9]\d? %$"))
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#rows > li")).to_have_count(0)


def test_what_is_deleted_while_the_service_is_away_stays_until_it_is_gone_and_thumbnails_come_back(
    browser: Browser, make_service: Callable[..., Service]
) -> None:
    service = make_service()
    rest = service.start_rest()
    service.start_engine()
    with visited(browser, f"{service.url}/app") as page:
        ready(page)
        choose(page, picture("one.png"), picture("two.png"))
        expect(page.locator("#rows > .done")).to_have_count(2)
        job_id = (row(page, "one.png").locator(".get").get_attribute("href") or "").rpartition("/")[2]
        service.kill(rest)
        row(page, "one.png").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("The service does not answer.")).to_be_visible()
        expect(row(page, "one.png").locator(".state")).to_have_text("deleting")
        image = row(page, "two.png").locator(".image")
        image.evaluate("image => (image.src += '?')")  # asked for while nobody answers
        expect(image).to_have_js_property("naturalWidth", 0)
        service.start_rest()
        expect(page.locator("#rows > li")).to_have_count(1)
        expect(image).not_to_have_js_property("naturalWidth", 0)
    with pytest.raises(NotFound):
        service.client.status(job_id)


@pytest.mark.parametrize("kind", ["heic", "tiff"])
def test_what_a_browser_cannot_show_is_compared_all_the_same(page: Page, kind: str) -> None:
    choose(page, heic("p.heic") if kind == "heic" else picture("p.tiff", "TIFF"))
    one = opened(page, f"p.{kind}")
    sizes = [image.evaluate("image => [image.naturalWidth, image.naturalHeight]") for image in one.locator("img").all()]
    assert sizes[-2:] == [[60, 40], [60, 40]]
    expect(page.locator("ol > li")).to_have_count(1)


def test_all_can_be_done_with_the_keyboard(page: Page) -> None:
    page.on("filechooser", lambda chooser: chooser.set_files([picture("one.png"), picture("two.png")]))
    page.get_by_role("link", name="API").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#rows > .done")).to_have_count(2)
    page.get_by_text("More", exact=True).focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Download all")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row(page, "one.png").locator(".open")).to_have_attribute("aria-expanded", "true")
    for _ in range(4):
        page.keyboard.press("Tab")
    slider = page.get_by_role("slider", name="Before and after: one.png")
    expect(slider).to_be_focused()
    page.keyboard.press("ArrowRight")
    assert page.locator(".compare").evaluate("box => box.style.getPropertyValue('--at')") == "51%"
    row(page, "one.png").get_by_role("button", name="Delete").press("Enter")
    expect(page.locator("#rows > li")).to_have_count(1)
    expect(row(page, "two.png").get_by_role("button", name="Delete")).to_be_focused()


@pytest.mark.parametrize("look", LOOKS)
def test_it_is_accessible_and_fits(browser: Browser, service: Service, look: str) -> None:
    with visited(browser, f"{service.url}/app", reduced_motion="reduce", **LOOKS[look]) as page:
        ready(page)
        choose(page, picture("a-name-that-is-much-too-long-for-a-phone" * 3 + ".png"), picture("b.txt", "GIF"))
        choose(page, {"name": "c.pdf", "mimeType": "", "buffer": b"%PDF-1.7"})
        expect(page.locator("#rows").locator(ENDED)).to_have_count(3)
        opened(page, "b.txt")
        page.get_by_text("More", exact=True).click()
        assert page.evaluate("document.documentElement.scrollWidth <= screen.width")
        expect(page.get_by_role("button", name="Take a photo")).to_be_visible(visible="phone" in look)
        found = Axe().run(page, options={"resultTypes": ["violations"]})
        assert found.response["violations"] == [], found.generate_report()


def test_with_a_key_under_a_prefix_and_at_a_rate(browser: Browser, guarded: Service) -> None:
    asked: list[str] = []
    with visited(browser, f"{guarded.url}/images/app") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.evaluate(NOTICES)
        field, use = page.get_by_label("API key"), page.get_by_role("button", name="Use this key")
        expect(field).to_be_focused()
        ready(page)
        choose(page, picture("one.png"), picture("two.png"))
        expect(page.locator("#rows > .waiting")).to_have_count(2)
        field.fill("another")
        use.click()
        expect(page.locator("#access-said")).to_have_text("This key is not accepted.")
        field.fill(KEY)
        use.click()
        one = opened(page, "one.png")
        opened(page, "two.png")
        expect(field).to_be_hidden()
        assert any(notice.startswith("Too many uploads") for notice in page.evaluate("window.notices"))
        assert (one.locator(".image").get_attribute("src") or "").startswith("blob:")
        for language in ("curl", "Python", "Node"):
            snippet = request_as(one, language)
            assert "IMG_KEY" in snippet
            assert KEY not in snippet
        with page.expect_download() as download:
            one.get_by_role("link", name="Download").click()
        assert download.value.suggested_filename == "one-60x40.png"
        assert page.evaluate("JSON.stringify(localStorage)").find(KEY) == -1
        page.reload()
        expect(page.locator("#recent > .done")).to_have_count(2)
    assert [url for url in asked if not url.startswith((f"{guarded.url}/images/", "blob:"))] == []


def test_a_reload_and_a_restart_in_the_middle_lose_nothing(
    browser: Browser, make_service: Callable[..., Service]
) -> None:
    service = make_service()
    rest = service.start_rest()
    with visited(browser, f"{service.url}/app") as page:
        ready(page)
        expect(page.locator("#strip")).to_contain_text("engines none, pictures wait for one")
        choose(page, picture("one.png"), picture("two.png"))
        expect(page.locator(".state").filter(has_text="queued (1 before you)")).to_have_count(1)
        page.reload()
        ready(page)
        expect(page.locator("#recent > .queued")).to_have_count(2)
        service.kill(rest)
        choose(page, picture("three.png"))
        expect(page.get_by_text("The service does not answer.")).to_be_visible()
        choose(page, picture("four.png"))
        expect(page.locator("#rows > li")).to_have_count(2)
        service.start_rest()
        service.start_engine()
        expect(page.locator("li.done")).to_have_count(4)
        expect(page.locator("#notice")).to_be_empty()
        assert sorted(page.locator("li .name").all_inner_texts()) == ["four.png", "one.png", "three.png", "two.png"]
