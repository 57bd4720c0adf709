"""The page for people: what is served, and how."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from img_contract.cluster_config import StoreConfig
from img_contract.config import AccessConfig, Config
from img_contract.ports import Jobs
from img_rest.app import create_app

FILES = {
    "/app": "text/html; charset=utf-8",
    "/app/app.css": "text/css; charset=utf-8",
    "/app/app.js": "text/javascript; charset=utf-8",
    "/app/icon.svg": "image/svg+xml",
}


def policy(client: FlaskClient) -> dict[str, str]:
    rules = client.get("/app").headers["Content-Security-Policy"].split("; ")
    return {name: value for name, _, value in (rule.partition(" ") for rule in rules)}


@pytest.mark.parametrize("path", FILES)
def test_a_browser_asks_each_time_and_is_sent_only_what_it_has_not(client: FlaskClient, path: str) -> None:
    first = client.get(path)
    assert (first.status_code, first.headers["Content-Type"]) == (200, FILES[path])
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"another"'}).data == first.data


def test_all_of_it_comes_to_30_kilobytes(client: FlaskClient) -> None:
    assert sum(len(client.get(path).data) for path in FILES) <= 30 * 1024


def test_the_page_runs_its_own_script_and_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    assert policy(client) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [("http://store.example:9000/x", "http://store.example:9000"), (None, "https://*.amazonaws.com")],
)
def test_its_pictures_may_come_from_the_store_that_clients_are_sent_to(
    config: Config, jobs: Jobs, endpoint: str | None, origin: str
) -> None:
    for redirect, more in ((True, f" {origin}"), (False, "")):
        store = StoreConfig(kind="s3", bucket="pictures", endpoint=endpoint, redirect=redirect)
        client = create_app(config.model_copy(update={"store": store}), jobs).test_client()
        assert policy(client)["img-src"] == f"'self' blob:{more}"
        assert policy(client)["connect-src"] == f"'self'{more}"


def test_every_address_in_it_is_relative_so_that_it_works_under_a_prefix(client: FlaskClient) -> None:
    addresses = re.findall(r'(?:href|src)="([^"#]+)"', client.get("/app").get_data(as_text=True))
    assert sorted(set(addresses)) == ["./", "app/app.css", "app/app.js", "app/icon.svg"]


def test_it_and_swagger_ui_lead_to_each_other(config: Config, jobs: Jobs) -> None:
    under = config.model_copy(update={"http": config.http.model_copy(update={"prefix": "/images"})})
    for given, prefix in ((config, ""), (under, "/images")):
        client = create_app(given, jobs).test_client()
        assert b'<a href="./">API</a>' in client.get(f"{prefix}/app").data
        document = client.get(f"{prefix}/swagger.json").get_json()
        assert f"[the page for people]({prefix}/app)" in document["info"]["description"]
        assert client.get(f"{prefix}/app/").headers["Location"] == f"{prefix}/app"


def test_neither_a_key_nor_a_rate_keeps_the_page_away(config: Config, jobs: Jobs) -> None:
    access = AccessConfig(keys={"person": "0" * 64}, rate="1/hour")
    client = create_app(config.model_copy(update={"access": access}), jobs).test_client()
    assert [client.get(path).status_code for path in (*FILES, *FILES)] == [200] * 8


def test_what_is_not_there_is_a_problem(client: FlaskClient) -> None:
    assert client.get("/app/routes.py").get_json()["code"] == "route_unknown"
    assert client.post("/app").get_json()["code"] == "method_not_allowed"
