"""Strangers at the notifier of the real processes: nothing they send grows, blocks or stops either container.

FAULTS=full sends a million messages in place of a hundred thousand.
"""

from __future__ import annotations

import os
import socket
import statistics
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
import structlog
import zmq
from img_contract.job.formats import Format
from img_contract.job.job import Job, Source, new_job_id, now
from img_contract.job.resize import Resize
from img_contract.notify.curve import fresh_keys
from img_contract.notify.memory import MemoryNotifier
from img_contract.testing import HANG_SECONDS, until
from img_contract.volume.layout import Layout
from img_contract.volume.store import VolumeJobs
from img_testing.service import Service
from img_testing.witness import events

pytestmark = pytest.mark.faults

log = structlog.get_logger(__name__)

MANY = 1_000_000 if os.environ.get("FAULTS") == "full" else 20_000
CROWD = 1000
GROWTH = 2**24
"""Bytes that a process may grow by under an attack; a leak of 170 bytes a message would be more."""


def port_of(service: Service) -> int:
    return int(service._notifier.rsplit(":", 1)[1])


def memory(process: subprocess.Popen[bytes]) -> int:
    """Resident bytes of a container: the process, and the one that serves for it."""
    top = psutil.Process(process.pid)
    return sum(one.memory_info().rss for one in (top, *top.children()) if one.is_running())


def unknown() -> bytes:
    """A message that is a job's in every respect, of which the volume knows nothing."""
    source = Source(filename=None, media_type="image/png", format=Format.PNG, bytes=1)
    return Job(version=1, id=new_job_id(), submitted_at=now(), source=source, resize=Resize(width=1)).message()


def raw(service: Service, greeting: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port_of(service)), timeout=5)
    connection.sendall(greeting)
    return connection


def zmtp(kind: bytes) -> bytes:
    """What a ZeroMQ peer says first (ZMTP 3.0, NULL)."""
    ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    return (
        b"\xff"
        + bytes(8)
        + b"\x7f\x03\x00"
        + b"NULL".ljust(20, b"\0")
        + bytes(32)
        + b"\x04"
        + bytes([len(ready)])
        + ready
    )


def works(service: Service, photo: bytes) -> float:
    """Have a picture done, and tell how long that took."""
    began = time.monotonic()
    assert service.ended(service.post(photo, width=50)).status == "done"
    return time.monotonic() - began


def notified(service: Service, photo: bytes) -> bool:
    """Have a picture done, and tell whether an engine was notified of it."""
    job_id = service.post(photo, width=9)
    assert service.ended(job_id).status == "done"
    return job_id not in {event["id"] for event in events(service.log(), "engines_not_notified")}


# At the engine: someone in img-rest's place


@contextmanager
def impostor(service: Service) -> Iterator[zmq.Socket[bytes]]:
    """A PUSH where img-rest's would be; the API is not started, so its address is free."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.linger = 0
        push.sndtimeo = 20_000
        push.bind(service._notifier)
        yield push


def submitted(service: Service, photo: bytes) -> Job:
    with VolumeJobs(Layout(service.volume), MemoryNotifier()).begin() as submission:
        submission.picture.write(photo)
        return submission.commit(filename=None, resize=Resize(width=50))


@pytest.mark.parametrize("kind", ["junk", "unknown guids"])
def test_a_flood_at_the_engine_delays_no_job_and_grows_nothing(
    make_service: Callable[..., Service], photo: bytes, kind: str
) -> None:
    service = make_service()
    engine = service.start_engine()
    layout = Layout(service.volume)
    messages = (
        [unknown() for _ in range(100)]
        if kind == "unknown guids"
        else [b"junk", b"{" * 500, b"\xff", b'{"version": 2}']
    )
    with impostor(service) as push:
        for number in range(2000):
            push.send(messages[number % len(messages)])
        before = memory(engine)
        waits: list[float] = []
        job = submitted(service, photo)  # nobody notifications for it: the sweep has to find it in the flood
        since = time.monotonic()
        sent = 0
        while sent < MANY or (len(waits) < 3 and time.monotonic() - since < HANG_SECONDS):
            push.send(messages[sent % len(messages)])
            sent += 1
            if sent % 500 == 0 and layout.ended(job.id):
                waits.append(time.monotonic() - since)
                job, since = submitted(service, photo), time.monotonic()
        until(lambda: layout.ended(job.id), why="the engine no longer works")
    assert len(waits) >= 3, "no job ends in the flood"
    grown = memory(engine) - before
    log.info("figures", attack=kind, messages=sent, grown_bytes=grown, slowest_job=max(waits))
    assert grown < GROWTH
    assert service.log().count("invalid_messages_dropped") < 20
    assert service.log().count('"level": "error"') == 0


def test_messages_of_100_mb_and_of_many_parts_do_not_fill_the_engine(
    make_service: Callable[..., Service], photo: bytes
) -> None:
    service = make_service()
    engine = service.start_engine()
    with impostor(service) as push:
        push.send_multipart([b"part"] * 1000)
        before = memory(engine)
        for _ in range(50):
            push.send_multipart([b"part"] * 1000)
        push.send(bytes(100_000_000))
        time.sleep(1)  # time to swallow it
        grown = memory(engine) - before
    log.info("figures", attack="large", grown_bytes=grown)
    assert grown < GROWTH
    service.start_rest()
    works(service, photo)
    until(lambda: notified(service, photo), why="the line was not mended")


# At the API: strangers on its line

GREETINGS = {
    "says nothing": b"",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "garbage": bytes(range(256)) * 4,
    "PUSH": zmtp(b"PUSH"),
    "SUB": zmtp(b"SUB"),
    "never reads": zmtp(b"PULL"),
}


def test_a_crowd_on_the_line_blocks_no_notification_and_costs_little(own_service: Service, photo: bytes) -> None:
    service = own_service
    assert service.rest is not None
    works(service, photo)
    calm = statistics.median(works(service, photo) for _ in range(5))

    def prompt() -> float | None:
        """How long a job takes, if it does not wait for the engine's look at the volume."""
        took = statistics.median(works(service, photo) for _ in range(5))
        return took if took <= 10 * calm else None

    for name, greeting in GREETINGS.items():
        crowd = []
        before = memory(service.rest)
        for _ in range(CROWD if name in ("says nothing", "never reads") else 100):
            with suppress(OSError):
                crowd.append(raw(service, greeting))
        took = until(prompt, why=f"the engine is not notified any more: {name}")
        grown = memory(service.rest) - before
        log.info("figures", attack=name, connections=len(crowd), grown_bytes=grown, job_seconds=took)
        for connection in crowd:
            connection.close()
        assert grown < 2 * GROWTH, name
    works(service, photo)


@pytest.mark.parametrize("more", [False, True], ids=["messages", "parts without end"])
def test_a_listener_that_talks_fills_no_memory_of_the_api(own_service: Service, photo: bytes, more: bool) -> None:
    service = own_service
    assert service.rest is not None
    works(service, photo)
    frame = bytes([2 | more]) + struct.pack(">Q", 60_000) + bytes(60_000)
    with raw(service, zmtp(b"PULL")) as talker:
        assert talker.recv(4096)
        before = memory(service.rest)
        with suppress(OSError):
            for _ in range(MANY // 20):  # 60 MB, or 3 GB
                talker.sendall(frame)
        grown = memory(service.rest) - before
    log.info("figures", attack="talker", grown_bytes=grown)
    assert grown < GROWTH
    works(service, photo)


# With keys


def with_keys() -> dict[str, str]:
    return {f"IMG_NOTIFIER__CURVE__{name.upper()}": key for name, key in fresh_keys().items()}


def test_with_keys_the_engine_hears_and_works_and_a_stranger_hears_nothing(
    make_service: Callable[..., Service], photo: bytes
) -> None:
    keys = with_keys()
    service = make_service(**keys)
    service.start_rest()
    service.start_engine()
    with zmq.Context() as context, context.socket(zmq.PULL) as stranger:
        stranger.linger = 0
        stranger.connect(service._notifier)
        until(lambda: notified(service, photo), why="the engine was not told")
        for _ in range(5):
            works(service, photo)
        assert stranger.poll(200) == 0
    assert [name for name, key in keys.items() if "SECRET" in name and key in service.log()] == []


def test_an_engine_with_other_keys_hears_nothing_and_works_by_its_sweep(
    make_service: Callable[..., Service], photo: bytes
) -> None:
    service = make_service(**with_keys())
    service.start_rest()
    service.start_engine(**with_keys())
    for _ in range(3):
        assert not notified(service, photo)
