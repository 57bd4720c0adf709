"""A page in a real Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from img_contract.testing import HANG_SECONDS
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert executable, "no Chromium on this machine"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visited(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """A page without memory of others. Its Content-Security-Policy may stop nothing on it, and no script may fail."""
    faults: list[str] = []
    with browser.new_context(**{"viewport": {"width": 1280, "height": 1600}, **options}) as context:
        page = context.new_page()
        page.set_default_timeout(HANG_SECONDS * 1000)
        page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        yield page
    assert faults == []


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """A page in a browser of its own."""
    with chromium() as browser, visited(browser, address) as page:
        yield page


def drop(page: Page, *paths: Path) -> None:
    """Drop files and folders on a page, as from a file manager."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for event in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": event, "x": 40, "y": 400, "data": data})
    session.detach()
