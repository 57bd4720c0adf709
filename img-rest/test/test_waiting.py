"""Waiting for a job: how a POST ends, and how many may wait."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.config import Config
from img_contract.errors import StoreUnavailable
from img_contract.job.resize import Resize
from img_contract.memory import MemoryStore
from img_contract.testing import HANG_SECONDS
from img_rest.app import create_app
from img_rest.waiting import LongPolls


@contextmanager
def meanwhile(act: Callable[[], Any]) -> Iterator[None]:
    """Do something in a thread while the block runs."""
    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()


def test_an_accepted_job_is_202_whatever_happens_to_the_answer(config: Config, png: bytes) -> None:
    """The job is stored: if the client were asked to send it again, there would be two."""

    class Failing(MemoryStore):
        def wait_ended(self, *_: Any) -> bool:
            raise StoreUnavailable("EIO")

    store = Failing()
    assert create_app(config, store).test_client().post("/resize?width=5&wait=5", data=png).status_code == 202
    assert store.capacity().pending == 1


def test_wait_may_be_in_the_form_too(client: FlaskClient, png: bytes, finish: Callable[[], bytes]) -> None:
    def form(wait: str) -> dict[str, Any]:
        return {"file": (io.BytesIO(png), "red.png"), "width": "5", "wait": wait}

    refused = client.post("/resize", data=form("soon"))
    assert (refused.status_code, refused.get_json()["errors"][0]["parameter"]) == (422, "wait")
    with meanwhile(finish):
        assert client.post("/resize", data=form("20")).status_code == 303


@pytest.mark.parametrize(("query", "headers"), [("&wait=20", {}), ("", {"Prefer": "respond-async, wait=20"})])
def test_a_job_that_is_done_within_the_wait_is_303_to_its_file(
    client: FlaskClient, png: bytes, finish: Callable[[], bytes], query: str, headers: dict[str, str]
) -> None:
    with meanwhile(finish):
        answer = client.post(f"/resize?width=5{query}", data=png, headers=headers)
    assert answer.status_code == 303
    assert client.get(answer.headers["Location"]).data.startswith(b"image.png")


def test_a_job_that_fails_within_the_wait_is_its_problem(
    client: FlaskClient, png: bytes, fail: Callable[[], None]
) -> None:
    with meanwhile(fail):
        answer = client.post("/resize?width=5&wait=20", data=png)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    body = answer.get_json()
    assert (body["code"], body["limit"], body["actual"]) == ("too_many_pixels", 64, 100)
    assert answer.headers["Location"].startswith("/resize/status/")


def test_a_job_that_is_not_done_within_the_wait_is_202(client: FlaskClient, png: bytes) -> None:
    assert client.post("/resize?width=5&wait=0.1", data=png).status_code == 202


class Observed(MemoryStore):
    """Jobs in memory that say when somebody waits for one."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)

    def wait_ended(self, job_id: str, seconds: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        self.waits.release()
        return super().wait_ended(job_id, seconds, given_up)


@pytest.mark.parametrize("path", ["/resize/status/{}?wait=20", "/resize/{}?wait=20", "/resize/{}/image.png?wait=20"])
def test_a_wait_for_a_status_or_a_result_ends_with_the_job(config: Config, png: bytes, path: str) -> None:
    store = Observed()
    app = create_app(config, store)
    job_id = app.test_client().post("/resize?width=5", data=png).get_json()["id"]

    def cancel() -> None:
        assert store.waits.acquire(timeout=HANG_SECONDS)
        store.cancel(job_id)

    with meanwhile(cancel):
        answer = app.test_client().get(path.format(job_id)).get_json()
    assert "cancelled" in (answer["status"], answer.get("code", "").removeprefix("job_"))


def test_clients_that_wait_take_no_more_than_their_places(config: Config, png: bytes) -> None:
    """With both places taken, a third client is answered at once, as if it had not asked to wait."""
    store = Observed()
    app = create_app(config, store)

    def post() -> int:
        return app.test_client().post("/resize?width=5&wait=20", data=png).status_code

    with meanwhile(post), meanwhile(post):
        for _ in range(2):
            assert store.waits.acquire(timeout=HANG_SECONDS)
        assert post() == 202
        assert not store.waits.acquire(blocking=False), "the third did not wait"
        for job_id in list(store.records):
            store.cancel(job_id)


def test_a_wait_that_fails_gives_its_place_back() -> None:
    class Failing(MemoryStore):
        calls = 0

        def wait_ended(self, *_: Any) -> bool:
            self.calls += 1
            raise StoreUnavailable("EIO")

    store = Failing()
    long_polls = LongPolls(store, 1, lambda: False)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            long_polls.wait("any", 1.0)
    assert store.calls == 3


@pytest.mark.parametrize("end", ["the service stops", "the client disconnects"])
def test_a_wait_ends_early_when_nobody_needs_its_answer(end: str) -> None:
    def given_up(reason: str) -> Callable[[], bool]:
        return lambda: reason == end

    store = MemoryStore()
    with store.begin() as submission:
        submission.picture.write(b"\xff\xd8\xff\xe0" + bytes(60))
        job = submission.commit(filename=None, resize=Resize(width=8))
    waited = threading.Event()

    def wait() -> None:
        LongPolls(store, 1, given_up("the service stops")).wait(job.id, 3600, given_up("the client disconnects"))
        waited.set()

    threading.Thread(target=wait, daemon=True).start()
    assert waited.wait(HANG_SECONDS)
