"""What every doorbell promises; run against ZeroMQ and the one in memory."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
import zmq
from img_contract.doorbell import Listener, MemoryDoorbell, Ringer, ZmqListener, ZmqRinger
from img_contract.formats import Format
from img_contract.job import Job, Source, new_job_id, now
from img_contract.resize import Resize


def job() -> Job:
    source = Source(filename=None, media_type="image/png", format=Format.PNG, bytes=1)
    return Job(version=1, id=new_job_id(), submitted_at=now(), source=source, resize=Resize(width=1))


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(params=["memory", "zeromq"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Ringer, Listener]]:
    if request.param == "memory":
        bell = MemoryDoorbell(capacity=10)
        yield bell, bell
        return
    address = free_address()
    ringer, listener = ZmqRinger(address), ZmqListener(address)
    yield ringer, listener
    listener.close()
    ringer.close()


def until_rung(ringer: Ringer, rung: Job) -> None:
    """Ring until the line stands; ZeroMQ connects in the background."""
    deadline = time.monotonic() + 10
    while not ringer.ring(rung):
        assert time.monotonic() < deadline, "the doorbell never connected"
        time.sleep(0.01)


def test_a_job_that_is_rung_is_heard(pair: tuple[Ringer, Listener]) -> None:
    ringer, listener = pair
    rung = job()
    until_rung(ringer, rung)
    assert listener.wait(10) == rung


def test_waiting_ends_when_nobody_rings(pair: tuple[Ringer, Listener]) -> None:
    began = time.monotonic()
    assert pair[1].wait(0.05) is None
    assert time.monotonic() - began < 5


def test_ringing_never_blocks_even_when_nobody_listens(pair: tuple[Ringer, Listener]) -> None:
    rung = job()
    began = time.monotonic()
    for _ in range(5000):
        pair[0].ring(rung)
    assert not isinstance(pair[0], MemoryDoorbell) or not pair[0].ring(rung)
    assert time.monotonic() - began < 10


def test_ringing_without_any_listener_says_so() -> None:
    ringer = ZmqRinger(free_address())
    assert ringer.ring(job()) is False
    ringer.close()


def test_a_taken_address_costs_rings_until_it_is_free() -> None:
    address = free_address()
    first = ZmqRinger(address)
    second = ZmqRinger(address)
    assert second.ring(job()) is False
    first.close()
    listener = ZmqListener(address)
    until_rung(second, rung := job())
    assert listener.wait(10) == rung
    listener.close()
    second.close()


@pytest.fixture
def line() -> Iterator[tuple[Callable[[list[bytes]], None], ZmqListener]]:
    """Send raw frames to a real listener."""
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    port = push.bind_to_random_port("tcp://127.0.0.1")
    listener = ZmqListener(f"tcp://127.0.0.1:{port}")
    yield push.send_multipart, listener
    listener.close()
    push.close(linger=0)
    context.term()


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"junk"],
        [b"\xff\xfe\x00"],
        [b"{}"],
        [b'{"version": 2}'],
        [b"null"],
        [b"a", b"b"],
        [job().model_dump_json().replace('"id":"', '"id":"../').encode()],
    ],
)
def test_what_is_no_job_is_dropped_and_the_next_job_is_heard(
    line: tuple[Callable[[list[bytes]], None], ZmqListener], frames: list[bytes]
) -> None:
    send, listener = line
    send(frames)
    assert listener.wait(10) is None
    good = job()
    send([good.model_dump_json().encode()])
    assert listener.wait(10) == good
