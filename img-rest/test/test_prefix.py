"""The path under which a proxy offers the API."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import AccessConfig, Config, HttpConfig
from img_contract.ports import Jobs
from img_rest.app import create_app
from pydantic import ValidationError


def served(config: Config, jobs: Jobs, prefix: str = "", proxies: int = 0) -> FlaskClient:
    http = config.http.model_copy(update={"prefix": prefix})
    given = config.model_copy(update={"http": http, "access": AccessConfig(proxies=proxies)})
    return create_app(given, jobs).test_client()


def location(client: FlaskClient, png: bytes, path: str = "/resize", **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"{path}?width=5", data=png, headers=sent).headers.get("Location", "").rpartition("/status/")[0]


def test_the_prefix_is_that_of_a_trusted_proxy(config: Config, jobs: Jobs, png: bytes) -> None:
    client = served(config, jobs, proxies=1)
    assert location(client, png) == "/resize"
    assert location(client, png, X_Forwarded_Prefix="/images") == "/images/resize"
    assert location(client, png, X_Forwarded_Prefix="/a/b-c/") == "/a/b-c/resize"
    for sound in ("/my%20app", "/@team", "/a+b", "/caf%C3%A9/(x);y=1", "/.a/..b", "/$&'"):
        assert location(client, png, X_Forwarded_Prefix=sound) == f"{sound}/resize"
    assert location(client, png, X_Forwarded_Prefix="/resize") == "/resize/resize"
    assert location(served(config, jobs), png, X_Forwarded_Prefix="/images") == "/resize"


def test_a_configured_prefix_is_written_as_in_a_url(config: Config, jobs: Jobs, png: bytes) -> None:
    client = served(config, jobs, "/my%20caf%C3%A9")
    for path in ("/resize", "/my%20caf%C3%A9/resize"):
        assert location(client, png, path) == "/my%20caf%C3%A9/resize"
    for page in ("/", "/my%20caf%C3%A9/"):
        assert 'url: "/my%20caf%C3%A9/swagger.json"' in client.get(page).get_data(as_text=True)
    assert client.get("/my%20caf%C3%A9/health//ready").headers["Location"] == "/my%20caf%C3%A9/health/ready"


def test_the_documentation_is_where_the_client_sees_it(config: Config, jobs: Jobs) -> None:
    client = served(config, jobs, "/images")
    assert "documented at /images/" in client.get("/images/nothing").get_json()["detail"]
    assert "documentation at /images/" in client.get("/images/limits", headers={"Host": "a b"}).get_json()["detail"]


def test_of_several_proxies_each_may_set_what_it_knows(config: Config, jobs: Jobs, png: bytes) -> None:
    client = served(config, jobs, proxies=2)
    assert location(client, png, X_Forwarded_Prefix="/images") == "/images/resize"
    assert location(client, png, X_Forwarded_Prefix="/a, /b") == location(client, png, X_Forwarded_Prefix="/a/,/b/")
    assert location(client, png, X_Forwarded_Prefix="/a, /b") == "/a/b/resize"
    assert location(client, png, X_Forwarded_Prefix="/the-client-s, /a, /b") == "/a/b/resize"
    for proto, host in (
        ("https", "img.example"),
        ("https, http", "img.example, inner"),
        ("x, https, y", "x, img.example, y"),
    ):
        said = {"X-Forwarded-Proto": proto, "X-Forwarded-Host": host, "X-Forwarded-Prefix": "/images"}
        document = client.get("/swagger.json", headers=said).get_json()
        assert document["basePath"] == "/images"
        assert "'https://img.example/images/resize?" in document["info"]["description"]


@pytest.mark.parametrize(
    "forged",
    [
        "//evil.example",
        "https://evil.example",
        "/a b",
        '/"><script>',
        "/a?b",
        "/a//b",
        "/a/../b",
        "/%2e%2E",
        "/a%2Fb",
        "/a%0d",
        "/100%",
    ],
)
def test_what_is_no_prefix_is_dropped(config: Config, jobs: Jobs, png: bytes, forged: str) -> None:
    assert location(served(config, jobs, proxies=1), png, X_Forwarded_Prefix=forged) == "/resize"
    assert location(served(config, jobs, "/images", proxies=1), png, X_Forwarded_Prefix=forged) == "/images/resize"


def test_a_configured_prefix_may_be_removed_by_the_proxy_or_not(config: Config, jobs: Jobs, png: bytes) -> None:
    client = served(config, jobs, "/images")
    for path in ("/resize", "/images/resize"):
        assert location(client, png, path) == "/images/resize"
    assert client.get("/imagesx/resize").status_code == 404
    for page in ("/", "/images", "/images/"):
        html = client.get(page).get_data(as_text=True)
        assert 'url: "/images/swagger.json"' in html
        assert 'src="/images/swaggerui/' in html
    assert client.get("/images/health").status_code == client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "wrong", ["images", "/images/", "//a", "/a b", "/resize", "/limits/x", "/..", "/", "/a/../b", "/a/.", "/a,b"]
)
def test_a_prefix_that_could_not_work_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(ValidationError, match="expected a path such as /images"):
        HttpConfig(prefix=wrong)
