"""Security headers of answers, and the headers that a request may have."""

from __future__ import annotations

from pathlib import Path

import flask_restx
import pytest
from flask.testing import FlaskClient


@pytest.mark.parametrize(
    "path", ["/", "/swagger.json", "/limits", "/health", "/resize", "/nowhere", "/resize/x", "/health/ready"]
)
def test_every_answer_is_safe_for_a_browser(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-eval" not in headers["Content-Security-Policy"]


def test_only_the_page_may_run_scripts_and_only_its_own(client: FlaskClient) -> None:
    page = client.get("/").headers["Content-Security-Policy"]
    scripts = page.split("script-src ")[1].split(";")[0]
    assert scripts.startswith("'self' 'sha256-")
    assert "unsafe-inline" not in scripts
    assert client.get("/limits").headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_headers_that_are_too_large_are_431_with_both_numbers(client: FlaskClient) -> None:
    for answer in (
        client.get("/limits", headers={"X-Large": "x" * 20_000}),
        client.get("/limits", headers={f"X-{number}": "x" * 500 for number in range(40)}),
        client.get("/limits?" + "x" * 20_000),
        client.get("/" + "x" * 20_000),
    ):
        body = answer.get_json()
        assert (answer.status_code, body["code"], body["limit"]) == (431, "headers_too_large", 16384)
        assert body["actual"] > 20_000
    assert client.get("/limits", headers={"X-Large": "x" * 15_000}).status_code == 200


@pytest.mark.parametrize("host", ["", "a,b", "a b", "a/b", "u@a", '"><script>', "[::1", "a:123456"])
def test_a_request_without_a_valid_host_is_400(client: FlaskClient, host: str) -> None:
    answer = client.get("/health", environ_overrides={"HTTP_HOST": host})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "request_malformed")


@pytest.mark.parametrize("host", ["localhost", "img_rest:8080", "[::1]:8080", "1.2.3.4", "a.example:"])
def test_any_name_or_address_is_a_host(client: FlaskClient, host: str) -> None:
    assert client.get("/health", environ_overrides={"HTTP_HOST": host}).status_code == 200


def test_a_method_is_written_in_upper_case(client: FlaskClient) -> None:
    assert client.get("/health", environ_overrides={"REQUEST_METHOD": "get"}).status_code == 400


def test_an_answer_without_a_body_has_no_content_type(client: FlaskClient, png: bytes) -> None:
    job_id = client.post("/resize?width=5", data=png).get_json()["id"]
    deleted = client.delete(f"/resize/{job_id}")
    assert (deleted.status_code, deleted.headers.get("Content-Type")) == (204, None)
    assert deleted.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_every_file_of_the_page_is_served(client: FlaskClient) -> None:
    names = [path.name for path in (Path(flask_restx.__file__).parent / "static").iterdir() if path.is_file()]
    assert "oauth2-redirect.html" in names
    for name in names:
        answer = client.get(f"/swaggerui/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
