"""Keys, each with its own jobs; rates; and what is open to all."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import AccessConfig, Config
from img_contract.errors import ConfigError
from img_contract.ports import Jobs
from img_rest.admission.access import new_key
from img_rest.app import create_app
from img_rest.command import main

ALICE, BOB = "alice-s-key", "bob-s-key"


def served(config: Config, jobs: Jobs, **access: Any) -> FlaskClient:
    given = config.model_copy(update={"access": AccessConfig(**access)})
    return create_app(given, jobs).test_client()


@pytest.fixture
def guarded(config: Config, jobs: Jobs) -> FlaskClient:
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in (("alice", ALICE), ("bob", BOB))}
    return served(config, jobs, keys=digests)


def post(client: FlaskClient, png: bytes, **headers: str) -> Any:
    return client.post("/resize?width=5", data=png, headers={key.replace("_", "-"): headers[key] for key in headers})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_API_Key": "another"},
        {"X_API_Key": ""},
        {"X_API_Key": ALICE + " "},
        {"X_API_Key": ALICE[:-1]},
        {"Authorization": "Bearer another"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {ALICE}"},
        {"Authorization": "\xff"},
        {"X_API_Key": "é"},
    ],
)
def test_a_request_without_a_key_is_401(guarded: FlaskClient, png: bytes, headers: dict[str, str]) -> None:
    if headers.get("X_API_Key") == ALICE + " ":
        headers = {"X_API_Key": f"{ALICE}, "}  # a trailing blank would be trimmed, as HTTP specifies
    answer = post(guarded, png, **headers)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "key_missing")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="img-rest"'


@pytest.mark.parametrize("headers", [{"X_API_Key": ALICE}, {"Authorization": f"Bearer {ALICE}"}])
def test_a_request_with_a_key_is_served(guarded: FlaskClient, png: bytes, headers: dict[str, str], jobs: Jobs) -> None:
    answer = post(guarded, png, **headers)
    assert answer.status_code == 202
    assert jobs.status(answer.get_json()["id"]).owner == "alice"


def test_each_key_sees_its_own_jobs_only(guarded: FlaskClient, png: bytes) -> None:
    job = post(guarded, png, X_API_Key=ALICE).get_json()["id"]
    alice, bob = {"X-API-Key": ALICE}, {"X-API-Key": BOB}
    for path in (f"/resize/status/{job}", f"/resize/{job}", f"/resize/{job}/image.png", f"/resize/{job}?wait=1"):
        answer = guarded.get(path, headers=bob)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "job_unknown"), path
        assert guarded.get(path).status_code == 401
    assert guarded.delete(f"/resize/{job}", headers=bob).status_code == 404
    assert guarded.get(f"/resize/status/{job}", headers=alice).get_json()["status"] == "queued"
    assert guarded.delete(f"/resize/{job}", headers=alice).status_code == 204
    assert guarded.delete(f"/resize/{job}", headers=alice).status_code == 204
    assert guarded.delete(f"/resize/{job}", headers=bob).status_code == 404


def test_jobs_from_before_there_were_keys_are_hidden(client: FlaskClient, guarded: FlaskClient, png: bytes) -> None:
    job = post(client, png).get_json()["id"]
    assert guarded.get(f"/resize/status/{job}", headers={"X-API-Key": ALICE}).status_code == 404


@pytest.mark.parametrize("path", ["/", "/swagger.json", "/limits", "/health"])
def test_what_is_about_no_job_is_open(guarded: FlaskClient, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_swagger_asks_for_a_key_only_where_one_is_needed(guarded: FlaskClient, client: FlaskClient) -> None:
    assert guarded.get("/swagger.json").get_json()["securityDefinitions"]["key"]["name"] == "X-API-Key"
    assert "securityDefinitions" not in client.get("/swagger.json").get_json()


def test_a_new_key_is_printed_with_the_digest_that_lets_it_in(
    config: Config, jobs: Jobs, png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--new-key"]) == 0
    key, digest = (line.split()[-1] for line in capsys.readouterr().out.splitlines())
    assert post(served(config, jobs, keys={"carol": digest}), png, X_API_Key=key).status_code == 202
    assert new_key()[0] != new_key()[0]


def test_faulty_keys_and_rates_are_refused_at_the_start() -> None:
    for wrong in ({"keys": {"a": "plain text"}}, {"keys": {"a b": "0" * 64}}, {"rate": "fast"}, {"rate": "0/hour"}):
        with pytest.raises((ConfigError, ValueError)):
            AccessConfig.model_validate(wrong)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock by which rates are counted, in seconds since the epoch."""
    return lambda moment: monkeypatch.setattr("time.time", lambda: moment)


def test_a_rate_holds_for_an_address(config: Config, jobs: Jobs, png: bytes, at: Callable[[float], None]) -> None:
    at(1_800_000_000.25)
    client = served(config, jobs, rate="2/hour")
    accepted = [post(client, png) for _ in range(2)]
    assert [(one.status_code, one.headers["Retry-After"]) for one in accepted] == [(202, "1"), (202, "1")]
    answer = post(client, png)
    assert (answer.status_code, answer.get_json()["code"]) == (429, "rate_exceeded")
    assert answer.headers["Retry-After"] == "3600"
    other = client.post("/resize?width=5", data=png, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert other.status_code == 202
    assert client.get("/limits").get_json()["rate"] == "2/hour"
    for _ in range(5):
        assert client.get("/health").status_code == 200  # asking is free


@pytest.mark.parametrize("began", [1_800_000_000.0, 1_800_000_000.25, 1_800_000_000.999])
@pytest.mark.parametrize(
    ("after", "seconds"), [(0, 60), (0.001, 60), (0.5, 60), (1, 59), (30.75, 30), (59, 1), (59.5, 1), (59.999, 1)]
)
def test_retry_after_is_when_the_window_of_a_rate_ends(
    config: Config, jobs: Jobs, png: bytes, at: Callable[[float], None], began: float, after: float, seconds: int
) -> None:
    """Rounded up to whole seconds, and never longer than the window."""
    at(began)
    client = served(config, jobs, rate="1/minute")
    assert post(client, png).status_code == 202
    at(began + after)
    assert post(client, png).headers["Retry-After"] == str(seconds)
    at(began + after + seconds)
    assert post(client, png).status_code == 202


def test_a_rate_holds_for_a_key_wherever_it_comes_from(config: Config, jobs: Jobs, png: bytes) -> None:
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in (("alice", ALICE), ("bob", BOB))}
    client = served(config, jobs, keys=digests, rate="1/hour")
    for key, address, status in ((ALICE, "192.0.2.1", 202), (ALICE, "192.0.2.2", 429), (BOB, "192.0.2.1", 202)):
        answer = client.post(
            "/resize?width=5", data=png, headers={"X-API-Key": key}, environ_base={"REMOTE_ADDR": address}
        )
        assert answer.status_code == status, (key, address)


def test_a_proxy_is_believed_only_where_the_configuration_says_so(config: Config, jobs: Jobs, png: bytes) -> None:
    def statuses(proxies: int) -> list[int]:
        client = served(config, jobs, rate="1/hour", proxies=proxies)
        return [post(client, png, X_Forwarded_For=address).status_code for address in ("192.0.2.1", "192.0.2.2")]

    assert statuses(0) == [202, 429]
    assert statuses(1) == [202, 202]
    assert statuses(2) == [202, 429]  # one address is too few to be that of the outermost of two


def test_the_rest_of_an_upload_refused_for_the_rate_is_read(config: Config, jobs: Jobs, png: bytes) -> None:
    """Else the connection would be reset over the rest, and the answer lost."""
    client = served(config, jobs, rate="1/hour")
    post(client, png)
    body = io.BytesIO(png + bytes(50_000))
    with contextlib.closing(client.post("/resize?width=5", input_stream=body, content_length=50_000 + len(png))):
        assert body.read() == b""
