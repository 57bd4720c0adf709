"""What is refused, fails or cannot be reached is an exception with its reason; what may pass is tried again."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from img_client import (
    ImgError,
    JobFailed,
    JobNotDone,
    NotFound,
    Refused,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WaitTimedOut,
)
from img_client.errors import error_from
from img_contract.testing import free_port
from img_testing.proxy import ANSWER, HALF, HALF_BYTES, REQUEST, proxy_to
from img_testing.service import Service

pytestmark = [pytest.mark.long, pytest.mark.python_independent]

Caller = Callable[..., Any]


@pytest.fixture(scope="module")
def idle(standing: Callable[..., Service]) -> Service:
    """A service without an engine: every job stays queued."""
    service = standing(IMG_LIMITS__QUEUE="1000", IMG_HTTP__LONG_POLLS="0")
    service.start_rest()
    return service


@pytest.fixture(scope="module")
def strict(standing: Callable[..., Service]) -> Service:
    """A service that asks for keys, takes one upload a day with each, and no large one."""
    keys = {f"user-{number}": hashlib.sha256(f"key {number}".encode()).hexdigest() for number in range(10)}
    service = standing(IMG_ACCESS__KEYS=json.dumps(keys), IMG_ACCESS__RATE="1/day", IMG_LIMITS__UPLOAD_BYTES="10000")
    service.start_rest()
    return service


@pytest.fixture(scope="module")
def key() -> Callable[[], str]:
    """Give a key of `strict` that was not used yet."""
    numbers = count()
    return lambda: f"key {next(numbers)}"


@pytest.fixture(scope="module")
def hasty(standing: Callable[..., Service]) -> Service:
    """A service that takes one upload a second."""
    service = standing(IMG_ACCESS__RATE="1/second")
    service.start_rest()
    return service


def jobs(service: Service) -> int:
    return len(list((service.volume / "jobs").glob("*/*")))


# Refused


def test_parameters_that_are_refused_are_told_one_by_one(caller: Caller, service: Service, png: bytes) -> None:
    with pytest.raises(Refused) as caught:
        caller(service.url)("submit", png, width=0, fit="tight")
    error = caught.value
    assert (error.status, error.code, error.retry_after) == (422, "parameters_invalid", None)
    assert [one.parameter for one in error.errors] == ["width", "fit"]
    assert "width" in error.errors[0].parameter
    assert str(error) == error.detail


def test_what_is_no_picture_is_refused(caller: Caller, service: Service) -> None:
    with pytest.raises(Refused, match="found text") as caught:
        caller(service.url)("resize", b"this is no picture" * 10, width=5)
    assert (caught.value.status, caught.value.code) == (415, "not_a_picture")


def test_a_limit_that_was_passed_is_told(caller: Caller, strict: Service, key: Callable[[], str], photo: bytes) -> None:
    with pytest.raises(Refused) as caught:
        caller(strict.url, api_key=key())("submit", photo, width=5)
    assert (caught.value.code, caught.value.limit) == ("upload_too_large", 10_000)
    assert caught.value.actual
    assert caught.value.actual > 10_000


def test_a_job_that_is_unknown_is_not_found(caller: Caller, service: Service) -> None:
    for method in ("status", "wait", "fetch", "cancel"):
        with pytest.raises(NotFound) as caught:
            caller(service.url)(method, "no such guid")
        assert (caught.value.status, caught.value.code) == (404, "job_unknown"), method
        with pytest.raises((NotFound, Refused)) as elsewhere:
            caller(service.url)(method, "../health")  # an id leads to no other route
        assert elsewhere.value.status in (404, 405)


def test_a_key_is_asked_for_and_sent(caller: Caller, strict: Service, key: Callable[[], str], png: bytes) -> None:
    with pytest.raises(Refused) as caught:
        caller(strict.url)("submit", png, width=5)
    assert (caught.value.status, caught.value.code) == (401, "key_missing")
    assert caller(strict.url, api_key=key())("submit", png, width=5).id


# Jobs


def test_a_job_that_fails_says_why_however_it_is_asked(caller: Caller, service: Service, photo: bytes) -> None:
    call, corrupt = caller(service.url), photo[: len(photo) // 2]
    job = call("submit", corrupt, width=5)
    assert call("wait", job.id).error.code == "picture_corrupt"
    for method, arguments in {
        "fetch": {"job_id": job.id},
        "submit": {"picture": corrupt, "wait": 60, "width": 5},
        "resize": {"picture": corrupt, "width": 5},
    }.items():
        with pytest.raises(JobFailed) as caught:
            call(method, **arguments)
        assert (caught.value.status, caught.value.code) == (422, "picture_corrupt")
        assert bool(caught.value.job_id) is (method != "fetch")


def test_a_job_that_has_not_ended_has_no_result(caller: Caller, idle: Service, png: bytes) -> None:
    call = caller(idle.url)
    job = call("submit", png, width=5)
    with pytest.raises(JobNotDone) as caught:
        call("fetch", job.id)
    assert (caught.value.code, caught.value.retry_after) == ("job_not_done", 1)
    assert call("status", job.id, wait=0.1).status == "queued"


def test_a_wait_ends_after_its_time_and_asks_once_a_second_at_most(caller: Caller, idle: Service, png: bytes) -> None:
    """Where no long poll has a place, each is answered at once."""
    with proxy_to(idle.port) as proxy:
        job_id = caller(idle.url)("submit", png, width=5).id
        with pytest.raises(WaitTimedOut) as caught:
            caller(proxy.url)("wait", job_id, timeout=2.5)
        assert caught.value.job_id == job_id
        with pytest.raises(WaitTimedOut):
            caller(idle.url)("resize", png, timeout=1, width=5)
        assert 2 <= len(proxy.requests) <= 4


# What may pass


@pytest.mark.parametrize("cut", [REQUEST, ANSWER])
def test_an_upload_whose_connection_broke_is_sent_again_and_makes_one_job(
    caller: Caller, idle: Service, photo: bytes, cut: str
) -> None:
    before = jobs(idle)
    with proxy_to(idle.port, cut) as proxy:
        job = caller(proxy.url)("submit", photo, width=5)
        assert len(proxy.requests) >= 2
    assert job.repeated is (cut == ANSWER)
    assert jobs(idle) == before + 1


def test_a_file_that_was_half_sent_is_sent_from_its_start(
    caller: Caller, idle: Service, photo: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    with proxy_to(idle.port, REQUEST) as proxy:
        job = caller(proxy.url)("submit", path, width=5)
    assert (idle.volume / "jobs" / job.id[:2] / job.id / "source").read_bytes() == photo


def test_without_an_idempotency_key_nothing_is_sent_again(caller: Caller, idle: Service, photo: bytes) -> None:
    with proxy_to(idle.port, ANSWER) as proxy:
        with pytest.raises(Unreachable) as caught:
            caller(proxy.url)("submit", photo, idempotency_key="", width=5)
        assert len(proxy.requests) == 1
    assert (caught.value.status, caught.value.code) == (None, None)


def test_a_key_of_the_callers_own_gives_the_same_job_again(caller: Caller, idle: Service, png: bytes) -> None:
    call, key = caller(idle.url), f"mine-{free_port()}-{id(caller)}"
    first, again = (call("submit", png, idempotency_key=key, width=5) for _ in range(2))
    assert (first.id, first.repeated, again.repeated) == (again.id, False, True)
    with pytest.raises(Refused) as caught:
        call("submit", png, idempotency_key=key, width=6)
    assert caught.value.code == "idempotency_key_reused"


def test_a_download_that_broke_is_begun_again_and_never_half_there(
    caller: Caller, service: Service, photo: bytes, tmp_path: Path
) -> None:
    job = caller(service.url)("submit", photo, wait=60, width=600)
    path = tmp_path / "result.jpg"
    with proxy_to(service.port, HALF) as proxy, pytest.raises(Unreachable):
        caller(proxy.url, retries=0)("download", job.id, path)
    assert list(tmp_path.iterdir()) == []
    with proxy_to(service.port, HALF, HALF) as proxy:
        caller(proxy.url)("download", job.id, path)
        assert len(proxy.requests) == 3
    assert path.read_bytes() == caller(service.url)("fetch", job.id)
    assert path.stat().st_size > HALF_BYTES


def test_retry_after_is_waited_for(caller: Caller, hasty: Service, png: bytes) -> None:
    with proxy_to(hasty.port) as proxy:
        for _ in range(2):
            caller(proxy.url)("submit", png, width=5)
        assert len(proxy.requests) <= 5  # it did not come again before its time


def test_a_retry_after_that_is_too_long_is_told_at_once(
    caller: Caller, strict: Service, key: Callable[[], str], png: bytes
) -> None:
    with proxy_to(strict.port) as proxy:
        call = caller(proxy.url, api_key=key(), longest_pause=0.5)
        call("submit", png, width=5)
        with pytest.raises(Unavailable) as caught:
            call("submit", png, width=5)
        assert len(proxy.requests) == 2
    assert (caught.value.status, caught.value.code) == (429, "rate_exceeded")
    assert caught.value.retry_after
    assert caught.value.retry_after >= 1


def test_a_service_that_is_not_ready_says_so_at_once(caller: Caller, idle: Service) -> None:
    with proxy_to(idle.port) as proxy:
        with pytest.raises(Unavailable) as caught:
            caller(proxy.url)("health", ready=True)
        assert len(proxy.requests) == 1
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "no_engine", 10)


def test_where_nobody_listens_the_service_is_unreachable(caller: Caller, png: bytes) -> None:
    call = caller(f"http://127.0.0.1:{free_port()}", retries=1)
    for method, argument in (("submit", png), ("status", "some id"), ("fetch", "some id")):
        with pytest.raises(Unreachable, match="ConnectError"):
            call(method, argument)


# What is no answer of the API's


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", UnexpectedAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", UnexpectedAnswer),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", UnexpectedAnswer),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\n<html>", Refused),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Unavailable),
        (b"this is no HTTP\r\n\r\n", Unreachable),
        (b"", Unreachable),
    ],
)
def test_any_other_answer_is_an_error_too(caller: Caller, answer: bytes, kind: type[ImgError]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ImgError) as caught:
            caller(f"http://127.0.0.1:{listener.getsockname()[1]}", retries=0)("limits")
    assert type(caught.value) is kind


def test_a_page_of_a_proxy_is_told_in_a_line() -> None:
    answer = httpx2.Response(502, html="<html>\n<h1>Bad Gateway</h1>\n", request=httpx2.Request("GET", "http://proxy"))
    assert error_from(answer).detail == "502 Bad Gateway, an answer that is not the service's"
