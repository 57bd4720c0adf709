"""A page of another origin in a real Chromium: what it can do where it is named, and what it cannot where it is not."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from img_testing.browser import opened
from img_testing.service import Service
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

KEY = "a key for the page"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a shop</title><link rel=icon href=data:,>")

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002  the base class's name
        """Log nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The address of a page; localhost is another site than 127.0.0.1, where the service is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(page: Page, script: str, service: Service, photo: bytes) -> Any:
    """Run the body of an async function, which has `url`, `key` and a File `photo`."""
    function = """async ([url, key, data, script]) => {
        const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
        const photo = new File([bytes], "photo.jpg", {type: "image/jpeg"});
        return await eval(`(async () => { ${script} })()`);
    }"""
    return page.evaluate(function, [service.url, KEY, base64.b64encode(photo).decode(), script])


UPLOAD = """
    const form = new FormData();
    form.append("file", photo);
    form.append("width", "60");
    const options = {method: "POST", body: form, headers: %s};
"""
IMAGE = """
    const image = new Image();
    image.crossOrigin = "anonymous";
    await new Promise((resolve, reject) => { image.onload = resolve; image.onerror = reject; image.src = url + path; });
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.getContext("2d").drawImage(image, 0, 0);
    canvas.toDataURL();
    return image.naturalWidth;
"""


def test_a_page_that_is_named_sends_waits_reads_and_shows(
    standing: Callable[..., Service], origin: str, photo: bytes
) -> None:
    service = standing(IMG_ACCESS__ORIGINS=json.dumps(["https://shop.example", origin]))
    service.start_rest()
    service.start_engine()
    with opened(origin) as page:
        posted = run(
            page,
            UPLOAD % "{}"
            + """
            const answer = await fetch(url + "/resize", options);
            return [answer.status, answer.headers.get("Location"), answer.headers.get("Retry-After")];""",
            service,
            photo,
        )
        assert (posted[0], posted[2]) == (202, "1")
        job_id = posted[1].rpartition("/")[2]
        picture = run(
            page,
            UPLOAD % '{"Idempotency-Key": "one", "Prefer": "wait=30", "Accept": "image/*"}'
            + """
            const answer = await fetch(url + "/resize", options);
            const bitmap = await createImageBitmap(await answer.blob());
            const named = ["Content-Location", "ETag"].map(name => answer.headers.get(name));
            return [answer.status, bitmap.width, ...named];""",
            service,
            photo,
        )
        assert picture[:2] == [200, 60]
        assert picture[2].startswith("/resize/")
        assert picture[3]
        assert service.ended(job_id).status == "done"
        assert run(page, f'const path = "/resize/{job_id}";' + IMAGE, service, photo) == 60
        missing = run(page, 'return (await (await fetch(url + "/resize/x")).json()).code', service, photo)
        assert missing == "job_unknown"
        deleted = run(
            page, f'return (await fetch(url + "/resize/{job_id}", {{method: "DELETE"}})).status', service, photo
        )
        assert deleted == 204


def test_a_page_sends_its_key_with_a_preflight(standing: Callable[..., Service], origin: str, photo: bytes) -> None:
    service = standing(IMG_ACCESS__ORIGINS="*", IMG_ACCESS__KEYS=json.dumps({"shop": DIGEST}))
    service.start_rest()
    with opened(origin) as page:
        status = run(
            page,
            UPLOAD % '{"X-API-Key": key}' + 'return (await fetch(url + "/resize", options)).status',
            service,
            photo,
        )
        assert status == 202
        bare = run(page, UPLOAD % "{}" + 'return (await fetch(url + "/resize", options)).status', service, photo)
        assert bare == 401


def test_a_page_that_is_not_named_can_neither_read_nor_send(service: Service, origin: str, photo: bytes) -> None:
    def jobs() -> int:
        return sum(1 for _ in (service.volume / "jobs").glob("**/job.json"))

    before = jobs()
    with opened(origin) as page:
        read = 'return await fetch(url + "/limits").then(() => "read", () => "stopped")'
        assert run(page, read, service, photo) == "stopped"
        sent = UPLOAD % "{}" + 'return await fetch(url + "/resize", options).then(() => "read", () => "stopped")'
        assert run(page, sent, service, photo) == "stopped"
        with page.expect_navigation():
            page.evaluate(
                """([url, data]) => {
                    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
                    const chosen = new DataTransfer();
                    chosen.items.add(new File([bytes], "photo.jpg"));
                    const form = document.createElement("form");
                    form.method = "post";
                    form.enctype = "multipart/form-data";
                    form.action = url + "/resize?width=60";
                    const file = document.createElement("input");
                    file.type = "file";
                    file.name = "file";
                    file.files = chosen.files;
                    form.append(file);
                    document.body.append(form);
                    form.submit();
                }""",
                [service.url, base64.b64encode(photo).decode()],
            )
        assert "cross_site" in page.content()
    assert jobs() == before
    service.post(photo, width=60)
    assert jobs() == before + 1  # what is counted here is what a page would have made
