"""Many uploads, large, tiny, slow and broken off; and clients that do not listen. Nobody else notices."""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

import httpx2
import pytest
from img_contract.job.formats import SIGNATURE_BYTES
from img_contract.testing import HANG_SECONDS, until
from img_testing.raw_http import BOUNDARY, FORM, connect, crashes, family_bytes, form, request, serving, talk
from img_testing.service import Service
from img_testing.web import web
from img_testing.witness import TINY, Row, rounds

pytestmark = pytest.mark.faults

MIB: Final = 1024 * 1024
STALLS_AFTER: Final = rounds(SIGNATURE_BYTES + 256 * 1024, 200_000)
"""In the long run in the midst of what is read at once, where the beginning is still judged with the rest."""
UPLOADS: Final = 448
"""`http.uploads`, by default."""


@pytest.fixture(scope="module")
def service(standing: Callable[..., Service]) -> Iterator[Service]:
    running = standing(IMG_HTTP__SEND_TIMEOUT_SECONDS="2", IMG_LIMITS__QUEUE="1000000")
    running.start_rest()
    yield running
    assert crashes(running) == []


def all_places_are_free(service: Service) -> None:
    """Take each of them with an upload that goes on; the next is refused, and none of those was."""
    with ExitStack() as open_ones:
        head = request("POST", "/resize?width=5", "Content-Length: 100000000")
        taken = [open_ones.enter_context(connect(service.port)) for _ in range(UPLOADS)]
        for connection in taken:
            connection.sendall(head + TINY)

        def refused() -> bool:
            for connection in taken:
                connection.sendall(bytes(16 * 1024))  # what stalls is cut off, and gives its place back
            answers = talk(service.port, request("POST", "/resize?width=5", body=TINY), seconds=1).answers
            return [(answer.status, b"uploads_full" in answer.body) for answer in answers] == [(503, True)]

        until(refused, why="there are more places than there should be")
        for connection in taken:
            connection.settimeout(0)
            with pytest.raises(BlockingIOError):  # it was not answered: it has a place
                connection.recv(1)

    def taken_again() -> bool:
        return talk(service.port, request("POST", "/resize?width=5", body=TINY), seconds=1).statuses == [202]

    until(taken_again, why="the places were not given back")


def test_large_uploads_at_once_cost_little_memory(service: Service, row: Callable[[str], Row]) -> None:
    number, size = rounds(40, 100), 20 * MIB
    for _ in range(3):
        service.post(TINY, width=5)
    before = family_bytes(service)
    block = bytes(MIB)
    barrier = threading.Barrier(number)
    peak, over = before, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, family_bytes(service))

    def upload(index: int) -> int:
        whole = form(b"%s%d") if index % 2 else b""
        head, _, tail = whole.partition(b"%s%d") if index % 2 else (b"", b"", b"")
        start = head + TINY
        kind = [FORM] if index % 2 else ["Content-Type: image/png"]
        target = "/resize" if index % 2 else "/resize?width=5"
        with connect(service.port, seconds=120) as connection:
            barrier.wait(60)
            connection.sendall(request("POST", target, *kind, f"Content-Length: {len(start) + size + len(tail)}"))
            connection.sendall(start)
            for _ in range(size // MIB):
                connection.sendall(block)
            connection.sendall(tail)
            connection.settimeout(60)
            return int(connection.recv(65536).split(b" ", 2)[1])

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    try:
        with ThreadPoolExecutor(number) as clients:
            statuses = Counter(clients.map(upload, range(number)))
    finally:
        over.set()
        watcher.join()
    took = time.monotonic() - began
    row("large uploads at once").add(
        remark=f"{number} uploads of 20 MiB at once: {before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB at the peak "
        f"(+{(peak - before) / 1e6:.0f}), {took:.1f} s"
    )
    assert statuses == {202: number}
    assert peak - before < 150e6 * max(number / 100, 0.5)
    shutil.rmtree(service.volume / "jobs")
    (service.volume / "jobs").mkdir()


def test_thousands_of_tiny_uploads_leave_nothing_open(service: Service, row: Callable[[str], Row]) -> None:
    number, session = rounds(1500, 10_000), httpx2.Client(timeout=60)

    def post(index: int) -> int:
        if index % 2:
            return session.post(f"{service.url}/resize", files={"file": TINY}, data={"width": 5}).status_code
        return session.post(f"{service.url}/resize?width=5", content=TINY).status_code

    server = serving(service)

    def held() -> tuple[int, int]:
        return server.num_fds(), server.num_threads()

    began = time.monotonic()
    with session, ThreadPoolExecutor(8) as clients:
        statuses = Counter(clients.map(post, range(200)))
        before = held()
        statuses += Counter(clients.map(post, range(number)))
        took, after = time.monotonic() - began, held()
    row("tiny uploads").add(
        remark=f"{number} tiny uploads: files, threads {before} before, {after} after; {number / took:.0f} a second"
    )
    assert statuses == {202: number + 200}
    assert after[0] <= before[0] + 8
    assert after[1] <= before[1] + 8


# Slow


@dataclass
class Slow:
    """An upload that comes in pieces."""

    kind: str
    connection: socket.socket
    start: bytes
    piece: bytes
    seconds: float
    """From piece to piece."""
    pieces: int = 1_000_000
    due: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    received: bytes = b""

    def begin(self) -> None:
        self.connection.sendall(self.start)
        self.connection.settimeout(0)
        self.began = time.monotonic()
        self.due = self.began + self.seconds

    def go_on(self) -> None:
        """Send what is due, read what has come."""
        now = time.monotonic()
        if self.pieces and now >= self.due:
            self.due, self.pieces = now + self.seconds, self.pieces - 1
            with suppress(OSError):
                self.connection.sendall(self.piece)
        with suppress(BlockingIOError):
            try:
                chunk = self.connection.recv(65536)
            except ConnectionError:
                chunk = b""
            self.received += chunk
            if not chunk or self.answered:
                self.ended = now

    @property
    def answered(self) -> bool:
        head, separator, body = self.received.partition(b"\r\n\r\n")
        return bool(separator) and (b"}" in body or b" 202 " in head[:20])

    @property
    def outcome(self) -> tuple[int, str]:
        head, _, body = self.received.partition(b"\r\n\r\n")
        told = json.loads(body) if body else {}
        kind = "problem" if b"application/problem+json" in head else "other"
        return int(head.split(b" ", 2)[1]) if head else 0, str(told.get("code", kind))


def slow_uploads(service: Service) -> list[Slow]:
    """400 of a byte a second, and a few of each other kind."""
    raw = request("POST", "/resize?width=5", "Content-Length: 100000")
    in_a_form = request("POST", "/resize", FORM, "Content-Length: 100000")
    part = form(TINY)[: -len(BOUNDARY) - 8]
    merely_slow = request("POST", "/resize?width=5", f"Content-Length: {len(TINY) + 48 * 1024}")
    refused = request("POST", "/resize?width=5", "Content-Length: 1000000")

    def more(kind: str, start: bytes, piece: bytes, seconds: float, pieces: int = 1_000_000) -> Slow:
        return Slow(kind, connect(service.port), start, piece, seconds, pieces)

    return [
        *(more("a byte a second", (in_a_form + part) if one % 2 else raw + TINY, b"x", 1.0) for one in range(400)),
        *(more("merely slow", merely_slow + TINY, bytes(1024), 0.25, 48) for _ in range(4)),
        *(
            more("stalled", raw.replace(b"100000", b"10000000") + TINY + bytes(STALLS_AFTER - len(TINY)), b"", 9e9)
            for _ in range(4)
        ),
        *(more("refused, then slow", refused + b"this is a text\n" * 10, b"x" * 512, 0.25) for _ in range(8)),
    ]


def test_slow_uploads_are_cut_off_and_nobody_else_notices(service: Service, row: Callable[[str], Row]) -> None:
    calm: list[float] = []
    healths: list[float] = []

    def ask(times: list[float], enough: Callable[[], bool]) -> None:
        """The latency of /health on a kept connection."""
        with httpx2.Client(timeout=HANG_SECONDS) as session:
            while not enough():
                began = time.perf_counter()
                assert session.get(f"{service.url}/health").status_code == 200
                times.append(time.perf_counter() - began)

    ask(calm, lambda: len(calm) == 100)
    uploads, over = slow_uploads(service), threading.Event()

    for upload in uploads:
        upload.begin()
    burst = time.monotonic()
    asking = threading.Thread(target=ask, args=(healths, lambda: over.wait(0.02)))
    asking.start()
    try:
        while (left := [upload for upload in uploads if not upload.ended]) and time.monotonic() < burst + HANG_SECONDS:
            for upload in left:
                upload.go_on()
            if time.monotonic() > burst + 9:
                over.set()  # from now on they are being cut off
            over.wait(0.02)
            time.sleep(0.01)  # the pace of the pieces
    finally:
        over.set()
        asking.join()
        for upload in uploads:
            upload.connection.close()
    assert [upload.kind for upload in uploads if not upload.ended] == []
    seen = {kind: [one for one in uploads if one.kind == kind] for kind in dict.fromkeys(one.kind for one in uploads)}
    times = {kind: [one.ended - one.began for one in ones] for kind, ones in seen.items()}
    for kind, ones in seen.items():
        row(f"uploads, {kind}").add(
            remark=f"{len(ones)} uploads, {kind}: {dict(Counter(one.outcome for one in ones))} "
            f"after {min(times[kind]):.1f} to {max(times[kind]):.1f} s"
        )
    healths.sort()
    median, late = statistics.median(healths), healths[int(len(healths) * 0.99)]
    row("/health beside slow uploads").add(
        remark=f"/health beside {len(uploads)} slow uploads, {len(healths)} times: "
        f"median {median * 1000:.1f} ms, p99 {late * 1000:.1f} ms, slowest {healths[-1] * 1000:.1f} ms"
    )
    outcomes = {kind: {one.outcome for one in ones} for kind, ones in seen.items()}
    assert outcomes == {
        "a byte a second": {(408, "upload_too_slow")},
        "merely slow": {(202, "other")},
        "stalled": {(408, "upload_too_slow")},
        "refused, then slow": {(415, "not_a_picture")},
    }
    assert min(times["a byte a second"] + times["stalled"]) > 9
    assert median <= 20 * statistics.median(calm)
    all_places_are_free(service)
    until(lambda: list((service.volume / "incoming").iterdir()) == [], why="leftovers in incoming/")


# Deaf


def test_clients_that_do_not_read_are_disconnected_and_stop_nobody(
    service: Service, slow_photo: bytes, row: Callable[[str], Row]
) -> None:
    engine = service.start_engine()
    target = f"/resize/{service.ended(service.post(slow_photo, width=2000, format='png')).id}"
    service.kill(engine)
    size = len(web.get(service.url + target, timeout=30).content)
    assert size > 5e6
    server, number = serving(service), 600
    before, files, memory = len(server.net_connections("tcp")), server.num_fds(), family_bytes(service)

    def clients() -> int:
        return len(server.net_connections("tcp")) - before

    with ExitStack() as open_ones:
        deaf = [open_ones.enter_context(connect(service.port, receive_bytes=2048)) for _ in range(number)]
        began = time.monotonic()
        for connection in deaf:
            connection.sendall(request("GET", target))
        until(lambda: clients() > 0 and time.monotonic() > began + 0.5)
        asked = time.monotonic()
        assert service.alive()
        health = time.monotonic() - asked
        service.post(TINY, width=5)
        post = time.monotonic() - asked - health
        most = family_bytes(service)
        until(lambda: clients() <= 8, why="deaf clients stay connected")
        took = time.monotonic() - began
    row("clients that do not read").add(
        remark=f"{number} clients that read nothing of {size / 1e6:.0f} MB: disconnected after {took:.1f} s "
        f"(http.send_timeout_seconds=2); /health {health * 1000:.0f} ms, POST {post * 1000:.0f} ms beside them; "
        f"+{(most - memory) / 1e6:.0f} MB"
    )
    until(lambda: server.num_fds() <= files + 8, why="files stay open")


def test_clients_that_hang_up_give_their_waiting_place_back(
    standing: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    service = standing(IMG_HTTP__LONG_POLLS="8")
    service.start_rest()
    job_id = service.post(TINY, width=5)  # without an engine it stays queued
    asked = request("GET", f"/resize/status/{job_id}?wait=50")
    slowest = 0.0

    def waits(connection: socket.socket, how: bytes, seconds: float = 2) -> bool:
        """Whether it is not answered within so many seconds, of the 50 that it would wait."""
        connection.sendall(how)
        connection.settimeout(seconds)
        try:
            connection.recv(1)
        except TimeoutError:
            return True
        return False

    def take_place(how: bytes) -> socket.socket:
        while True:
            connection = connect(service.port)
            if waits(connection, how):
                return connection
            connection.close()
            assert time.monotonic() < began + HANG_SECONDS, "a place was not given back"

    for how in (asked, asked, request("POST", "/resize?width=5&wait=50", body=TINY), asked):
        began = time.monotonic()
        with ThreadPoolExecutor(8) as clients:
            waiting = list(clients.map(take_place, [how] * 8))
        slowest = max(slowest, time.monotonic() - began)
        with connect(service.port) as further:
            assert not waits(further, how, 40), "more wait than may"
        for connection in waiting:
            connection.close()
    row("clients that hang up").add(
        remark=f"a waiting place is free {slowest:.1f} s after its client hung up, at the latest"
    )
    assert crashes(service) == []
