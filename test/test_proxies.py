"""The service behind a real nginx and Caddy, at the root and under a sub-path: every address leads back through it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from urllib.parse import urljoin, urlsplit

import pytest
from img_testing.browser import opened
from img_testing.curl import curl
from img_testing.proxies import caddy, nginx
from img_testing.service import TOP, Service
from img_testing.web import web
from PIL import Image
from playwright.sync_api import expect

pytestmark = [pytest.mark.long, pytest.mark.python_independent]

ROUTES = {
    "header": """server { listen LISTEN;
        location /images/ {
            proxy_pass PORT/;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Prefix /images;
        } }""",
    "setting, prefix removed": "server { listen LISTEN; location /images/ { proxy_pass PORT/; } }",
    "setting, prefix kept": "server { listen LISTEN; location /images { proxy_pass PORT; } }",
    "root": """server { listen LISTEN;
        location / { proxy_pass PORT; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Prefix ""; } }""",
    "caddy": """LISTEN {
        handle_path /images/* {
            reverse_proxy PORT {
                header_up X-Forwarded-Prefix /images
            }
        }
    }""",
}
SETTINGS = {
    "header": {"IMG_ACCESS__PROXIES": "1"},
    "setting, prefix removed": {"IMG_HTTP__PREFIX": "/images"},
    "setting, prefix kept": {"IMG_HTTP__PREFIX": "/images"},
    "root": {"IMG_ACCESS__PROXIES": "1"},
    "caddy": {"IMG_ACCESS__PROXIES": "1"},
}


@pytest.fixture(scope="module", params=list(ROUTES))
def outside(
    request: pytest.FixtureRequest, standing: Callable[..., Service], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address that clients know, without a slash at its end."""
    way = request.param
    service = standing(**SETTINGS[way])
    proxy = caddy if way == "caddy" else nginx
    with proxy(tmp_path_factory.mktemp("proxy") / "files", ROUTES[way].replace("PORT", service.url)) as url:
        service.start_rest()
        service.start_engine()
        yield url if way == "root" else f"{url}/images"


def size_of(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as image:
        return image.size


def test_curl_follows_to_the_picture(outside: str) -> None:
    status, body = curl("-L", "-F", "file=@photo.jpg", "-F", "width=80", f"{outside}/resize?wait=30")
    assert status == 200, body[:500]
    assert (status, size_of(body)) == (200, (80, 53))


def test_every_address_in_an_answer_leads_back(outside: str, photo: bytes) -> None:
    path = urlsplit(outside).path
    posted = web.post(f"{outside}/resize", files={"file": photo}, data={"variants": "40w,80w"})
    links = posted.json()["links"]
    assert posted.headers["Location"] == links["status"] == f"{path}/resize/status/{posted.json()['id']}"
    status = web.get(urljoin(outside, f"{links['status']}?wait=30")).json()
    srcset = [entry.split(" ")[0] for entry in status["srcset"].split(", ")]
    sources = [entry.split(" ")[0] for source in status["sources"] for entry in source["srcset"].split(", ")]
    addresses = [links["result"], status["links"]["result"], *srcset, *sources]
    addresses += [output["href"] for output in status["outputs"]]
    assert len(addresses) == 8
    for address in addresses:
        assert address.startswith(f"{path}/resize/")
        assert size_of(web.get(urljoin(outside, address)).content)[0] in (40, 80)
    missing = web.get(f"{outside}/resize/nothing")
    assert missing.json()["instance"] == f"{path}/resize/nothing"
    picture = web.post(f"{outside}/resize?width=40&wait=30", content=photo, headers={"Accept": "image/*"})
    address = picture.headers["Content-Location"]
    assert web.get(urljoin(outside, address)).content == picture.content


def test_a_redirect_of_the_router_leads_back(outside: str) -> None:
    answer = web.get(f"{outside}//limits", follow_redirects=True)
    assert answer.json()["side"] == 16384


def test_the_page_for_people_finds_its_files(outside: str) -> None:
    page = web.get(f"{outside}/app").text
    addresses = re.findall(r'(?:href|src)="([^"#]+)"', page)
    assert "app/app.js" in addresses
    for address in addresses:
        assert web.get(urljoin(f"{outside}/app", address)).status_code == 200
    assert web.get(f"{outside}/app/", follow_redirects=True).text == page


def test_the_document_has_the_address_that_clients_know(outside: str) -> None:
    document = web.get(f"{outside}/swagger.json").json()
    assert document["basePath"] == (urlsplit(outside).path or "/")


@pytest.mark.browser
def test_swagger_ui_works(outside: str) -> None:
    asked: list[str] = []
    with opened(f"{outside}/") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        expect(page.locator(".opblock").first).to_be_visible()
        block = page.locator("[id$='-submit']")
        block.locator(".opblock-summary").click()
        block.get_by_role("button", name="Try it out").click()
        block.locator("tr[data-param-name=file] input[type=file]").set_input_files(TOP / "photo.jpg")
        block.locator("tr[data-param-name=width] input").fill("90")
        block.locator("tr[data-param-name=wait] input").fill("30")
        block.get_by_role("button", name="Execute").click()
        shown = block.locator(".live-responses-table img")
        expect(shown).to_be_visible(timeout=30_000)
        assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [90, 60]
        line = block.locator(".curl-command .curl, .curl-command code").first.inner_text()
    assert [url for url in asked if not url.startswith((outside, "data:", "blob:"))] == []
    assert f"'{outside}/resize?wait=30'" in line
