"""Many clients, and those that wait, stall or idle: nobody keeps the others out, and engines share the work."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from img_client import Client, Unavailable
from img_contract.testing import HANG_SECONDS, until
from img_testing.service import Service
from img_testing.web import web

pytestmark = [pytest.mark.long, pytest.mark.python_independent]

Make = Callable[..., Service]


def test_three_engines_share_the_load_and_render_each_job_once(make_service: Make, photo: bytes) -> None:
    service = make_service(IMG_ENGINE__CHILDREN="1")
    service.start_rest()
    for _ in range(3):
        service.start_engine()
    with ThreadPoolExecutor(8) as clients:
        jobs = list(clients.map(lambda _: service.post(photo, width=400), range(60)))
    ends = [service.ended(job) for job in jobs]
    assert {(end.status, end.attempt) for end in ends} == {("done", 1)}
    events = [json.loads(line) for line in service.log().splitlines() if '"event": "job_claimed"' in line]
    assert len(events) == len(jobs)

    def shares() -> list[int]:
        return [path.read_text().count('"event": "job_done"') for path in sorted(service.logs.glob("img-engine-*"))]

    until(lambda: sum(shares()) == len(jobs), why="an outcome is in no log")
    assert min(shares()) >= 5, f"the load was not shared: {shares()}"


def test_a_large_upload_costs_the_api_little_memory(make_service: Make, photo: bytes) -> None:
    """60 MB, as a form and as a raw body: less than 20 MB more."""
    service = make_service(IMG_LIMITS__UPLOAD_BYTES=str(128 * 1024 * 1024))
    rest = service.start_rest()
    service.post(photo, width=10)  # everything is imported and allocated
    processes = [rest.pid, *(child.pid for child in psutil.Process(rest.pid).children(recursive=True))]

    def megabytes(field: str) -> float:
        lines = [line for pid in processes for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1000

    for pid in processes:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak until now (proc_pid_clear_refs(5))
    before = megabytes("VmRSS")
    large = photo + bytes(60_000_000 - len(photo))
    service.post(large, width=10)
    answer = web.post(f"{service.url}/resize?width=10", content=large)
    assert answer.status_code == 202
    peak = megabytes("VmHWM")
    assert peak - before < 20, f"{before:.1f} MB before, {peak:.1f} MB at the peak"


def test_clients_that_wait_do_not_keep_others_out(make_service: Make, photo: bytes) -> None:
    """Eight of forty may wait, for longer than the guard against hanging; the others are answered at once."""
    wait = 10 * HANG_SECONDS
    service = make_service(
        IMG_HTTP__THREADS="16",
        IMG_HTTP__LONG_POLLS="8",
        IMG_HTTP__UPLOADS="4",
        IMG_HTTP__WAIT_SECONDS=str(wait),
    )
    service.start_rest()
    job_id = service.post(photo, width=10)  # there is no engine: it stays queued
    with ThreadPoolExecutor(40) as clients:
        waits = [clients.submit(service.status, job_id, wait) for _ in range(40)]
        until(lambda: sum(one.done() for one in waits) == 32, why="more wait than may")
        service.post(photo, width=10)
        assert sum(one.done() for one in waits) == 32
        service.client.cancel(job_id)
        assert sorted(one.result(HANG_SECONDS).status for one in waits) == ["cancelled"] * 8 + ["queued"] * 32


def test_stalled_uploads_do_not_keep_others_out(make_service: Make, photo: bytes) -> None:
    service = make_service(
        IMG_HTTP__THREADS="16",
        IMG_HTTP__LONG_POLLS="4",
        IMG_HTTP__UPLOADS="8",
        IMG_HTTP__UPLOAD_BYTES_PER_SECOND="0",  # they are never cut off
    )
    service.start_rest()
    head = b"POST /resize?width=5 HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 10000000\r\n\r\n"
    stalled = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(30)]
    for connection in stalled:
        connection.sendall(head + photo[:1000])
    until(lambda: len(list((service.volume / "incoming").iterdir())) == 8, why="the uploads did not begin")
    assert service.alive()
    with pytest.raises(Unavailable) as caught:
        service.post(photo, width=5)
    assert (caught.value.status, caught.value.code) == (503, "uploads_full")
    assert caught.value.retry_after
    for connection in stalled:
        connection.close()
    with Client(service.url, retries=20) as patient:  # a place is free once the service has seen them hang up
        assert patient.submit(photo, width=5).id


def connected(service: Service, number: int) -> list[socket.socket]:
    """So many connections, half of them idle after a request, half of them in the middle of their headers."""
    half = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    connections = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(number)]
    for index, connection in enumerate(connections):
        connection.sendall(half if index % 2 else half + b"\r\n")
    return connections


def test_idle_and_stalled_connections_do_not_keep_others_out(make_service: Make, photo: bytes) -> None:
    service = make_service(IMG_HTTP__IDLE_SECONDS="60")
    service.start_rest()
    connections = connected(service, 1000)
    service.post(photo, width=10)
    for connection in connections:
        connection.close()


def test_idle_and_stalled_connections_are_closed_after_their_time(make_service: Make) -> None:
    service = make_service(IMG_HTTP__IDLE_SECONDS="1")
    service.start_rest()
    for connection in connected(service, 100):
        connection.settimeout(HANG_SECONDS)
        while connection.recv(65536):
            pass
        connection.close()
