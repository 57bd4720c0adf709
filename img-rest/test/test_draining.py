"""The rest of a refused upload: read, so that its client sees the answer, but not whatever it costs."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from typing import Any

import pytest
from img_contract.config import AccessConfig, Config
from img_contract.ports import Jobs
from img_contract.testing import HANG_SECONDS
from img_rest.app import create_app
from img_rest.errors import NotAPicture, UploadsFull, UploadTooSlow
from img_rest.requests.draining import Drain
from img_rest.server.body import Body, MinimumRate

REFUSED = NotAPicture("it is a text")


def test_the_rest_of_a_refused_upload_is_read() -> None:
    body = io.BytesIO(bytes(1_000_000))
    Drain(most_bytes=10_000_000).read_rest(body, REFUSED)
    assert body.read() == b""


def test_no_more_is_read_than_an_upload_may_have() -> None:
    body = io.BytesIO(bytes(5_000_000))
    Drain(most_bytes=1_000_000).read_rest(body, REFUSED)
    assert 1_000_000 <= body.tell() < 2_000_000


@pytest.mark.parametrize("error", [UploadTooSlow("slow"), UploadsFull("full", limit=1, actual=1)])
def test_an_upload_that_was_refused_for_what_it_takes_is_not_read(error: Exception) -> None:
    body = io.BytesIO(bytes(1000))
    Drain(most_bytes=1000).read_rest(body, error)
    assert body.tell() == 0


def test_a_client_that_becomes_too_slow_ends_the_reading() -> None:
    class Slow(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise UploadTooSlow("found 0 in 10 seconds")

    Drain(most_bytes=1000).read_rest(Slow(), REFUSED)


def test_only_so_many_are_read_at_once_and_a_place_is_given_back() -> None:
    drain, go_on = Drain(most_bytes=1000), threading.Event()
    reading = threading.Semaphore(0)

    class Hanging(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            reading.release()
            go_on.wait(HANG_SECONDS)
            return b""

    threads = [threading.Thread(target=drain.read_rest, args=(Hanging(), REFUSED), daemon=True) for _ in range(32)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert reading.acquire(timeout=HANG_SECONDS)
    further = io.BytesIO(bytes(100))
    drain.read_rest(further, REFUSED)
    assert further.tell() == 0
    go_on.set()
    for thread in threads:
        thread.join(HANG_SECONDS)
    drain.read_rest(further, REFUSED)
    assert further.tell() == 100


@pytest.mark.parametrize("access", [{}, {"keys": {"alice": "0" * 64}}])
def test_a_body_that_the_client_sends_only_when_asked_is_not_asked_for_in_vain(
    config: Config, jobs: Jobs, access: dict[str, Any]
) -> None:
    full = config.limits.model_copy(update={"free_bytes": 2**62})
    served = create_app(
        config.model_copy(update={"limits": full, "access": AccessConfig(**access)}), jobs
    ).test_client()
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        body = Body(loop, None, MinimumRate(1, 1))
        sent = {"wsgi.input": body, "CONTENT_LENGTH": "1000", "HTTP_EXPECT": "100-continue"}
        answer = served.post("/resize?width=5", environ_overrides=sent)
    assert answer.status_code == (401 if access else 507)
    assert not body.asked_for
