"""GET /jobs and GET /stats: what is listed, to whom, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import Config
from img_contract.ports import Jobs
from img_contract.testing import until
from img_rest.app import create_app

KEYS = {"alice": "one of alice's", "bob": "one of bob's"}


@pytest.fixture
def config(config: Config) -> Config:
    return config.model_copy(update={"access": config.access.model_copy(update={"list": True})})


@pytest.fixture
def keyed(config: Config, jobs: Jobs) -> Callable[..., Any]:
    """Ask an application with keys, over the same jobs, as one of its clients."""
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()}
    access = config.access.model_copy(update={"keys": digests, "list": False})
    asked = create_app(config.model_copy(update={"access": access}), jobs).test_client()

    def ask(path: str, name: str | None = None, **options: Any) -> Any:
        return asked.open(path, headers={"X-API-Key": KEYS[name]} if name else {}, **options)

    return ask


def submit(client: FlaskClient, png: bytes, **options: Any) -> str:
    return str(client.post("/resize?width=2", data=png, **options).get_json()["id"])


def test_a_list_tells_of_each_job_what_its_status_tells(
    client: FlaskClient, png: bytes, finish: Callable[..., bytes], fail: Callable[[], None]
) -> None:
    done, failed, queued = (submit(client, png) for _ in range(3))
    finish()
    fail()
    page = client.get("/jobs")
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
    body = page.get_json()
    assert [job["id"] for job in body["jobs"]] == [queued, failed, done]
    assert body["next"] is None
    for job in body["jobs"]:
        status = client.get(f"/resize/status/{job['id']}").get_json()
        like = ("id", "status", "submitted_at", "started_at", "finished_at", "saved_percent", "error", "links")
        assert {name: job[name] for name in like} == {name: status[name] for name in like}
        assert [job[name] for name in ("filename", "format", "bytes")] == [None, "png", len(png)]
    assert [job["result_bytes"] for job in body["jobs"]] == [None, None, 500]
    assert [job["id"] for job in client.get("/jobs?status=failed").get_json()["jobs"]] == [failed]
    assert body["jobs"][1]["error"]["code"] == "too_many_pixels"


def test_pages_follow_each_other_by_their_cursor(client: FlaskClient, png: bytes) -> None:
    posted = [submit(client, png) for _ in range(5)]
    first = client.get("/jobs?limit=2").get_json()
    second = client.get("/jobs", query_string={"limit": 3, "cursor": first["next"]}).get_json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == posted[::-1]
    assert second["next"] is None


@pytest.mark.parametrize("written", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+00:00"])
def test_since_is_a_time_in_any_form_of_iso_8601(client: FlaskClient, png: bytes, written: str) -> None:
    job_id, hour = submit(client, png), timedelta(hours=1)
    for since, expected in ((-hour, [job_id]), (hour, [])):
        text = (datetime.now(UTC) + since).strftime(written)
        assert [job["id"] for job in client.get(f"/jobs?since={text}").get_json()["jobs"]] == expected


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("limit=0", ["limit"]),
        ("limit=201", ["limit"]),
        ("limit=1e1", ["limit"]),
        ("limit=٣", ["limit"]),
        ("limit=5&limit=5", ["limit"]),
        ("status=waiting", ["status"]),
        ("since=yesterday", ["since"]),
        ("since=0001-01-01T00:00:00%2B23:00", ["since"]),
        ("cursor=none", ["cursor"]),
        ("cursor=%00", ["cursor"]),
        ("owner=alice", ["owner"]),
        ("status=x&since=x&limit=x", ["status", "since", "limit"]),
    ],
)
def test_a_malformed_query_is_refused_with_all_its_faults(client: FlaskClient, query: str, refused: list[str]) -> None:
    answer = client.get(f"/jobs?{query}")
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (400, "query_invalid")
    assert [fault["parameter"] for fault in problem["errors"]] == refused


def test_empty_parameters_were_left_out(client: FlaskClient) -> None:
    assert client.get("/jobs?status=&since=&limit=&cursor=").get_json() == {"jobs": [], "next": None}


def test_without_keys_jobs_are_not_listed_unless_that_is_on(config: Config, jobs: Jobs) -> None:
    off = config.model_copy(update={"access": config.access.model_copy(update={"list": False})})
    client = create_app(off, jobs).test_client()
    answer = client.get("/jobs?limit=0")
    assert (answer.status_code, answer.get_json()["code"]) == (403, "listing_off")
    assert client.get("/stats").status_code == 200


def test_with_keys_everyone_sees_their_own_jobs_and_nobody_without_one(keyed: Callable[..., Any], png: bytes) -> None:
    posted = {name: keyed("/resize?width=2", name, method="POST", data=png).get_json()["id"] for name in KEYS}
    for name, job_id in posted.items():
        assert [job["id"] for job in keyed("/jobs", name).get_json()["jobs"]] == [job_id]
        assert [job["id"] for job in keyed("/jobs?status=queued", name).get_json()["jobs"]] == [job_id]
    for path in ("/jobs", "/stats", "/jobs/", "/stats/"):
        assert keyed(path).status_code == 401
    totals = keyed("/stats", "alice")
    assert totals.get_json()["queued"] == 2
    assert not any(job_id in totals.text for job_id in posted.values())


def test_the_totals_are_those_of_the_port(
    client: FlaskClient, png: bytes, finish: Callable[..., bytes], fail: Callable[[], None], work: Any
) -> None:
    for _ in range(3):
        submit(client, png)
    finish()
    fail()
    work.announce()
    answer = client.get("/stats")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    body = answer.get_json()
    assert (body["queued"], body["processing"], body["engines"]) == (1, 0, [{"name": "engine", "version": None}])
    assert body["oldest_seconds"] >= 0
    hour = body["hour"]
    assert (hour["done"], hour["failed"], hour["cancelled"]) == (1, {"too_many_pixels": 1}, 0)
    assert hour["saved_bytes"] == hour["uploaded_bytes"] - 500 == len(png) - 500
    assert 0 < hour["seconds"]["p50"] == hour["seconds"]["p95"]


def test_a_queued_job_tells_how_many_are_before_it(client: FlaskClient, png: bytes, claimed: Callable[[], Any]) -> None:
    posted = [submit(client, png) for _ in range(3)]

    def positions() -> list[int | None]:
        return [client.get(f"/resize/status/{job_id}").get_json()["position"] for job_id in posted]

    until(lambda: positions() == [0, 1, 2])
    claim = claimed()
    assert claim.job.id == posted[0]
    until(lambda: positions() == [None, 0, 1])
    claim.close()


def test_lists_and_totals_work_under_a_prefix(config: Config, jobs: Jobs, png: bytes) -> None:
    http = config.http.model_copy(update={"prefix": "/images"})
    client = create_app(config.model_copy(update={"http": http}), jobs).test_client()
    job_id = submit(client, png)
    listed = client.get("/images/jobs").get_json()["jobs"]
    assert [job["links"]["result"] for job in listed] == [f"/images/resize/{job_id}"]
    assert client.get("/images/stats").status_code == 200
