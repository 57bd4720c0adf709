"""What a POST that waits answers: the picture itself, the way to it, or why there is none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import Config
from img_contract.errors import StoreUnavailable
from img_contract.job.outcome import Facts, ResultFile
from img_contract.job.status import JobStatus
from img_contract.memory import MemoryStore
from img_contract.ports import StoredResult
from img_contract.testing import HANG_SECONDS, until
from img_rest.app import create_app


@pytest.fixture
def post(client: FlaskClient, png: bytes, finish: Callable[[], bytes]) -> Any:
    """Post a picture with these headers, have it done meanwhile, and return the answer and the result's content."""

    def posted(**headers: str) -> Any:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(
                client.post,
                "/resize?width=2&wait=20",
                data=png,
                headers={name.replace("_", "-"): value for name, value in headers.items()},
            )
            content = finish()
            return answer.result(HANG_SECONDS), content

    return posted


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "image/*"},
        {"Accept": "image/png"},
        {"Accept": "image/avif, image/webp, */*;q=0.8"},
        {"Accept": "image/*, application/problem+json"},
        {"Accept": "application/json;q=0.5, image/jpeg"},
        {"Prefer": "return=representation"},
        {"Prefer": "respond-async, Return = representation; x=1", "Accept": "*/*"},
    ],
)
def test_a_client_that_wants_the_picture_gets_it(client: FlaskClient, post: Any, headers: dict[str, str]) -> None:
    answer, content = post(**headers)
    assert (answer.status_code, answer.data) == (200, content)
    address = answer.headers["Content-Location"]
    fetched = client.get(address)
    assert fetched.data == content
    for name in ("ETag", "Content-Type", "Content-Length", "Content-Disposition", "Last-Modified", "Cache-Control"):
        assert answer.headers[name] == fetched.headers[name], name
    assert answer.headers.get("Preference-Applied") == ("return=representation" if "Prefer" in headers else None)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept": "*/*"},
        {"Accept": "application/json"},
        {"Accept": "image/png;q=0"},
        {"Accept": "image/png, application/json"},
        {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
        {"Prefer": "return=minimal"},
    ],
)
def test_any_other_is_sent_on_with_the_job_in_the_body(client: FlaskClient, post: Any, headers: dict[str, str]) -> None:
    answer, content = post(**headers)
    assert (answer.status_code, answer.content_type) == (303, "application/json")
    body = answer.get_json()
    assert (body["status"], body["links"]["result"]) == ("done", answer.headers["Location"])
    assert answer.headers["Location"] == f"/resize/{body['id']}"
    assert client.get(answer.headers["Location"]).data == content


def test_whoever_does_not_wait_gets_no_picture_whatever_it_accepts(client: FlaskClient, png: bytes) -> None:
    answer = client.post("/resize?width=2", data=png, headers={"Accept": "image/*"})
    assert (answer.status_code, answer.content_type) == (202, "application/json")


def test_a_result_that_cannot_be_read_is_still_a_job_that_was_done(config: Config, png: bytes) -> None:
    """An error would make the client send the picture again, which was resized once already."""

    class Failing(MemoryStore):
        def open_result(self, status: JobStatus, name: str | None = None) -> StoredResult:
            raise StoreUnavailable(f"{status.id}: {name}")

    store = Failing()
    client = create_app(config, store).test_client()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/resize?width=2&wait=20", data=png, headers={"Accept": "image/*"})
        work = store.work("engine")
        claim = until(lambda: work.next(0.1))
        with claim.files() as files:
            path = files.target.with_name("0")
            path.write_bytes(b"x")
            result = ResultFile(path, "image.png", "image/png", 2, 1, 1, 1, hashlib.sha256(b"x").hexdigest())
            assert claim.publish([result], Facts(width=4, height=3), ())
        claim.close()
        assert answer.result(HANG_SECONDS).status_code == 303


def test_a_post_to_a_result_is_told_what_to_do(client: FlaskClient, job_id: str) -> None:
    """As `curl -X POST -L` sends it where it should follow a 303."""
    answer = client.post(f"/resize/{job_id}")
    assert answer.status_code == 405
    assert answer.get_json()["detail"] == (
        "expected DELETE or GET or HEAD, found POST; the result is fetched with GET; with curl, leave out -X POST"
    )
    assert client.post(f"/resize/status/{job_id}").get_json()["detail"].startswith("expected GET or HEAD, found POST")


def test_a_wrong_method_names_the_right_ones(client: FlaskClient) -> None:
    assert client.get("/resize").get_json()["detail"] == "expected POST, found GET"
    assert client.put("/resize").get_json()["detail"].endswith("a picture is sent with POST; with curl -T, add -X POST")
    assert (
        client.post("/limits").get_json()["detail"].endswith("it is asked for with GET; with curl, leave out -X POST")
    )
