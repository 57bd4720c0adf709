"""Make docs/app.png anew: the page for people with a few pictures, as README shows it. Needs Chromium."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from img_testing.browser import chromium, visited
from img_testing.samples import encoded, photo
from img_testing.service import TOP, Service
from PIL import Image, ImageOps
from playwright.sync_api import Browser, expect

TARGET = TOP / "docs" / "app.png"
COLOURS = 160
"""Of the PNG, for a small file."""


def pictures() -> list[dict[str, Any]]:
    """A part of the sample picture, an upload that is no picture, a drawing, and a TIFF."""
    with Image.open(TOP / "photo.jpg") as image:
        upright = ImageOps.exif_transpose(image)
    contents = {
        "waterfall.jpg": encoded(upright.crop((600, 112, 1800, 512)), "JPEG", quality=95),  # between its inscriptions
        "invoice.pdf": b"%PDF-1.7",
        "drawing.png": encoded(photo((1600, 1200)), "PNG"),
        "scan.tif": encoded(upright.crop((0, 300, 900, 900)), "TIFF"),
    }
    return [{"name": name, "mimeType": "", "buffer": content} for name, content in contents.items()]


def take(browser: Browser, service: Service) -> bytes:
    """Return the page as a PNG."""
    with visited(browser, f"{service.url}/app", viewport={"width": 840, "height": 1188}) as page:
        expect(page.get_by_label("width", exact=True)).to_have_value("800")
        page.locator("#files").set_input_files(pictures())  # type: ignore[arg-type]
        expect(page.locator("#sum")).to_contain_text("3 of 4 done · 1 failed")
        page.locator("#rows .open").first.click()
        for side in page.locator(".compare img").all():
            expect(side).not_to_have_js_property("naturalWidth", 0)
        expect(page.locator("#strip")).to_contain_text("Waiting 0 · running 0")
        page.get_by_role("slider").blur()
        return page.screenshot()


def main() -> None:
    """Start a service, and write what its page looks like."""
    expect.set_options(timeout=60_000)
    service = Service(Path(tempfile.mkdtemp()))
    try:
        service.start_rest()
        service.start_engine()
        with chromium() as browser:
            shot = take(browser, service)
    finally:
        service.stop()
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
