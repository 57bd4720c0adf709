"""What every answer carries, and how large a request's headers may be."""

from __future__ import annotations

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
