"""Pages of other origins: what they are allowed, and that no other makes a browser send pictures."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import AccessConfig, Config
from img_contract.ports import Jobs
from img_rest.app import create_app
from pydantic import ValidationError

SHOP, OTHER = "https://shop.example", "https://other.example:8443"

SENT = "cache-control,content-type,traceparent, x-api-key,x-requested-with"
"""As browsers ask for it; Dropzone, for one, sends Cache-Control and X-Requested-With."""


def served(config: Config, jobs: Jobs, **access: Any) -> FlaskClient:
    given = config.model_copy(update={"access": AccessConfig.model_validate(access)})
    return create_app(given, jobs).test_client()


def preflight(client: FlaskClient, origin: str, path: str = "/resize", method: str = "POST") -> Any:
    headers = {
        "Origin": origin,
        "Sec-Fetch-Site": "cross-site",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": SENT,
    }
    return client.options(path, headers=headers)


def test_without_origins_no_answer_has_a_header_of_cors(client: FlaskClient) -> None:
    for answer in (preflight(client, SHOP), client.get("/limits", headers={"Origin": SHOP})):
        assert answer.status_code == 200
        assert [name for name, _ in answer.headers if name.startswith("Access-Control")] == []


def test_a_preflight_is_answered_without_a_key(config: Config, jobs: Jobs) -> None:
    client = served(config, jobs, keys={"a": "0" * 64}, origins=[SHOP, OTHER])
    answer = preflight(client, OTHER)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == OTHER
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == SENT
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert {"GET", "DELETE"} <= set(
        preflight(client, OTHER, "/resize/x", "DELETE").headers["Access-Control-Allow-Methods"].split(", ")
    )


@pytest.mark.parametrize("sent", ["x-a; x-b", "", ",", "x-ä"])
def test_what_is_no_list_of_headers_is_not_allowed(config: Config, jobs: Jobs, sent: str) -> None:
    client = served(config, jobs, origins=[SHOP])
    headers = {"Origin": SHOP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": sent}
    assert "Access-Control-Allow-Headers" not in client.options("/resize", headers=headers).headers


def test_an_answer_of_any_kind_can_be_read_by_the_origins_that_are_named(config: Config, jobs: Jobs) -> None:
    client = served(config, jobs, origins=[SHOP, OTHER])
    for path, status in (("/limits", 200), ("/resize/x", 404), ("/resize", 405)):
        answer = client.get(path, headers={"Origin": SHOP})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, SHOP)
        exposed = answer.headers["Access-Control-Expose-Headers"]
        for name in ("Location", "Retry-After", "ETag", "Content-Location", "Content-Disposition"):
            assert name in exposed
        assert "Origin" in answer.vary
    for other in ({"Origin": "https://shop.example.evil.example"}, {"Origin": "null"}, {}):
        answer = client.get("/limits", headers=other)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.vary  # else a cache might give this answer to a page that needs the header


def test_all_origins_get_the_same_answer(config: Config, jobs: Jobs) -> None:
    client = served(config, jobs, origins="*")
    for headers in ({"Origin": SHOP}, {}):
        answer = client.get("/limits", headers=headers)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert not answer.vary


@pytest.mark.parametrize("method", ["post", "delete", "put"])
def test_a_page_of_another_site_cannot_send_what_changes_something(
    client: FlaskClient, config: Config, jobs: Jobs, method: str
) -> None:
    foreign = {"Origin": OTHER, "Sec-Fetch-Site": "cross-site"}
    answer = getattr(client, method)("/resize", headers=foreign)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cross_site")
    assert OTHER in answer.get_json()["detail"]
    named = getattr(served(config, jobs, origins=[OTHER]), method)("/resize", headers=foreign)
    assert named.status_code != 403


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none", None])
def test_whoever_is_no_page_of_another_site_is_served(client: FlaskClient, png: bytes, site: str | None) -> None:
    headers = {"Origin": OTHER} | ({"Sec-Fetch-Site": site} if site else {})
    assert client.post("/resize?width=5", data=png, headers=headers).status_code == 202


def test_a_picture_can_be_shown_by_any_page(client: FlaskClient) -> None:
    """A link to it, or an <img>, is no change."""
    answer = client.get("/limits", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "wrong", ["shop.example", "https://shop.example/", "https://Shop.example", "https://*.example", ["*", 5], "null"]
)
def test_what_no_browser_sends_as_an_origin_is_refused_at_the_start(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="expected \\* or origins such as"):
        AccessConfig.model_validate({"origins": wrong})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("https://shop.example:0443/", "https://shop.example"),
        ("https://ü.example:8443", "https://xn--tda.example:8443"),
        ("https://STRAẞE.example", "https://xn--strae-oqa.example"),
        ("HTTPS://Shop.example/app?x", "https://shop.example"),
        ("https://me@shop.example", "https://shop.example"),
        ("http://[0:0::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_that_browsers_write_otherwise_is_refused_with_what_to_write(wrong: str, right: str) -> None:
    with pytest.raises(ValidationError, match=f"browsers write it {re.escape(right)}$|{re.escape(right)} "):
        AccessConfig.model_validate({"origins": [wrong]})
    assert AccessConfig.model_validate({"origins": right}).origins == (right,)


def test_origins_are_written_as_a_list_or_with_commas() -> None:
    for given in ([SHOP, OTHER], f"{SHOP}, {OTHER}", f'["{SHOP}", "{OTHER}"]'):
        assert AccessConfig.model_validate({"origins": given}).origins == (SHOP, OTHER)
