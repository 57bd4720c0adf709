"""What every notifier promises; run against ZeroMQ with and without keys and the one in memory; and strangers at it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest
import zmq
from img_contract.job.formats import Format
from img_contract.job.job import Job, Source, new_job_id, now
from img_contract.job.resize import Resize
from img_contract.notify.curve import CurveConfig, fresh_keys
from img_contract.notify.memory import MemoryNotifier
from img_contract.notify.notifier import Listener, Notifier
from img_contract.notify.options import MESSAGE_BYTES, over_ipv6
from img_contract.notify.pull import ZmqListener, _InvalidMessages
from img_contract.notify.push import ZmqNotifier
from img_contract.testing import ManualClock, free_port, until
from structlog.testing import capture_logs


def job() -> Job:
    source = Source(filename=None, media_type="image/png", format=Format.PNG, bytes=1)
    return Job(version=1, id=new_job_id(), submitted_at=now(), source=source, resize=Resize(width=1))


def free_address() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


def fresh() -> CurveConfig:
    return CurveConfig.model_validate(fresh_keys())


@pytest.fixture(params=["memory", "zeromq", "zeromq with keys", "zeromq over IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Notifier, Listener]]:
    if request.param == "memory":
        both = MemoryNotifier(capacity=10)
        yield both, both
        return
    keys = fresh() if request.param == "zeromq with keys" else None
    address = free_address()
    if request.param == "zeromq over IPv6":
        address = address.replace("127.0.0.1", "[::1]")
    notifier, listener = ZmqNotifier(address, keys), ZmqListener(address, keys)
    yield notifier, listener
    listener.close()
    notifier.close()


def until_notified(notifier: Notifier, notified: Job) -> None:
    """Notify until an engine is connected; ZeroMQ connects in the background."""
    until(lambda: notifier.notify(notified), why="the notifier never connected")


def test_a_job_that_is_notified_is_heard(pair: tuple[Notifier, Listener]) -> None:
    notifier, listener = pair
    notified = job()
    until_notified(notifier, notified)
    assert listener.wait(10) == notified


def test_waiting_ends_without_a_notification(pair: tuple[Notifier, Listener]) -> None:
    assert pair[1].wait(0.05) is None


def test_notifying_never_blocks_even_when_nobody_listens(pair: tuple[Notifier, Listener]) -> None:
    notified = job()
    for _ in range(5000):
        pair[0].notify(notified)
    assert not isinstance(pair[0], MemoryNotifier) or not pair[0].notify(notified)


@pytest.mark.parametrize(
    ("bound", "host"), [("*", "[::1]"), ("*", "127.0.0.1"), ("[::]", "localhost"), ("lo", "127.0.0.1")]
)
def test_a_job_is_heard_over_either_family(bound: str, host: str) -> None:
    port = free_port()
    notifier, listener = ZmqNotifier(f"tcp://{bound}:{port}"), ZmqListener(f"tcp://{host}:{port}")
    until_notified(notifier, notified := job())
    assert listener.wait(10) == notified
    listener.close()
    notifier.close()


@pytest.mark.parametrize(
    ("host", "used"),
    [
        ("127.0.0.1", [False, False, False]),
        ("[fd00::5]", [True, True, True]),
        ("*", [True, True, True]),
        ("img-rest", [False, True, False]),
        ("1.example", [False, True, False]),
    ],
)
def test_a_name_is_tried_with_either_family_in_turn(host: str, used: list[bool]) -> None:
    assert [over_ipv6(f"tcp://{host}:5555", attempt) for attempt in range(3)] == used


def test_notifying_without_any_listener_returns_false() -> None:
    notifier = ZmqNotifier(free_address())
    assert notifier.notify(job()) is False
    notifier.close()


def test_a_taken_address_costs_notifications_until_it_is_free() -> None:
    address = free_address()
    first = ZmqNotifier(address)
    second = ZmqNotifier(address)
    assert second.notify(job()) is False
    first.close()
    listener = ZmqListener(address)
    until_notified(second, notified := job())
    assert listener.wait(10) == notified
    listener.close()
    second.close()


def test_a_message_larger_than_the_limit_is_never_sent() -> None:
    address = free_address()
    notifier, listener = ZmqNotifier(address, message_bytes=100), ZmqListener(address, message_bytes=100)
    assert listener.wait(0.2) is None  # time to connect
    assert notifier.notify(job()) is False
    listener.close()
    notifier.close()


# Keys


@pytest.mark.parametrize(
    ("whose", "keeps_server"), [("no keys", False), ("keys of another set", False), ("another client's", True)]
)
def test_who_has_not_the_right_keys_hears_nothing(whose: str, keeps_server: bool) -> None:
    keys = fresh()
    strangers: CurveConfig | None = None if whose == "no keys" else fresh()
    if strangers and keeps_server:  # it knows img-rest's public key, which is no secret
        strangers = strangers.model_copy(update={"server_public": keys.server_public})
    address = free_address()
    notifier, stranger = ZmqNotifier(address, keys), ZmqListener(address, strangers)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert notifier.notify(job()) is False
        assert stranger.wait(0.05) is None
    engine = ZmqListener(address, keys)
    until_notified(notifier, notified := job())
    assert engine.wait(10) == notified
    assert stranger.wait(0.2) is None
    for end in (stranger, engine, notifier):
        end.close()


@pytest.mark.parametrize("server_has_keys", [False, True])
def test_an_engine_with_keys_listens_to_no_other_server(server_has_keys: bool) -> None:
    address = free_address()
    impostor, engine = ZmqNotifier(address, fresh() if server_has_keys else None), ZmqListener(address, fresh())
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        impostor.notify(job())
        assert engine.wait(0.05) is None
    assert engine.dropped == 0
    impostor.close()
    engine.close()


def test_without_its_authenticator_a_notifier_lets_nobody_in() -> None:
    keys, address = fresh(), free_address()
    notifier = ZmqNotifier(address, keys)
    assert notifier._authenticator is not None
    notifier._authenticator.stop()
    engine = ZmqListener(address, keys)
    assert engine.wait(0.5) is None
    assert notifier.notify(job()) is False
    engine.close()
    notifier.close()


def test_keys_are_in_no_text_of_the_parts_that_hold_them() -> None:
    keys = fresh()
    secrets = [keys.server_secret.get_secret_value(), keys.client_secret.get_secret_value()]
    notifier = ZmqNotifier(free_address(), keys)
    listener = ZmqListener(free_address(), keys)
    told = f"{keys!r} {keys} {keys.model_dump_json()} {vars(notifier)} {vars(listener)}"
    assert [secret for secret in secrets if secret in told] == []
    notifier.close()
    listener.close()


# Junk

Send = Callable[[list[bytes]], None]


@pytest.fixture
def line() -> Iterator[tuple[Send, ZmqListener]]:
    """Send raw frames to a real listener."""
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    port = push.bind_to_random_port("tcp://127.0.0.1")
    listener = ZmqListener(f"tcp://127.0.0.1:{port}")
    yield push.send_multipart, listener
    listener.close()
    push.close(linger=0)
    context.term()


def test_a_message_of_a_newer_version_is_left_to_polling_and_is_not_invalid(line: tuple[Send, ZmqListener]) -> None:
    send, listener = line
    good = job()
    for old, new in (('"version":1', '"version":2'), ('"version":1', '"version":1,"priority":1')):
        send([job().model_dump_json().replace(old, new).encode()])
    send([good.message()])
    assert listener.wait(10) == good
    assert listener.dropped == 0


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"junk"],
        [b"\xff\xfe\x00"],
        [b"{}"],
        [b'{"version": 2}'],
        [b"null"],
        [b"[" * 60_000],
        [b"9" * 60_000],
        [b"a", b"b"],
        [job().message(), b""],
        [b"a"] * 1000,
        [job().model_dump_json().replace('"id":"', '"id":"../').encode()],
    ],
    ids=lambda frames: frames[0][:18],
)
def test_what_is_no_job_is_dropped_and_counted_and_the_next_job_is_heard(
    line: tuple[Send, ZmqListener], frames: list[bytes]
) -> None:
    send, listener = line
    good = job()
    send(frames)
    send([good.message()])
    assert listener.wait(10) == good
    assert listener.dropped == 1


def hears(listener: ZmqListener, notifier: ZmqNotifier) -> bool:
    """Whether a notification comes through in time; the first may go to a peer that is just going."""
    deadline = time.monotonic() + 15
    heard = None
    while heard is None and time.monotonic() < deadline:
        notifier.notify(job())
        heard = listener.wait(0.1)
    return heard is not None


def hears_another(listener: ZmqListener, address: str) -> bool:
    notifier = ZmqNotifier(address)
    heard = hears(listener, notifier)
    notifier.close()
    return heard


@pytest.mark.parametrize("message_bytes", [MESSAGE_BYTES + 1, 100_000_000])
def test_who_sends_too_large_a_message_is_cut_off_and_the_next_is_heard(message_bytes: int) -> None:
    """libzmq by itself never comes back to a peer that did that."""
    address = free_address()
    listener = ZmqListener(address)
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.bind(address)
        push.linger = 0
        push.send(bytes(message_bytes))
        before = psutil.Process().memory_info().rss
        assert listener.wait(0.5) is None
        assert psutil.Process().memory_info().rss - before < 2**23
    assert hears_another(listener, address)
    assert listener.dropped == 0
    listener.close()


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20, b"\x16\x03\x01" + bytes(99), b""])
def test_an_engine_that_met_something_else_at_the_address_comes_back(greeting: bytes) -> None:
    address = free_address()
    port = int(address.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", port)) as other:
        listener = ZmqListener(address)
        met, _ = other.accept()
        met.sendall(greeting)
        assert listener.wait(0.2) is None
        met.close()
    assert hears_another(listener, address)
    listener.close()


def test_a_flood_of_invalid_messages_holds_up_nobody_and_is_logged_once(line: tuple[Send, ZmqListener]) -> None:
    send, listener = line
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            send([b"junk"])

    flooding = threading.Thread(target=flood)
    with capture_logs() as logs:
        flooding.start()
        took = []
        for _ in range(5):
            began = time.monotonic()
            assert listener.wait(0.2) is None
            took.append(time.monotonic() - began)
        stop.set()
        while flooding.is_alive():  # empty the line, or the sender would hang in it
            listener.wait(0.2)
        flooding.join()
    assert min(took) > 0.15, "an invalid message ended the wait, after which an idle engine polls"
    assert [(line["event"], line["messages"]) for line in logs] == [("invalid_messages_dropped", 1)]


def test_what_was_dropped_since_the_last_report_is_logged_later_with_its_count() -> None:
    clock = ManualClock()
    invalid = _InvalidMessages(clock)
    with capture_logs() as logs:
        for _ in range(1000):
            invalid.drop()
        clock.advance(11)
        invalid.report()
        invalid.report()
    assert [line["messages"] for line in logs] == [1, 999]
    assert logs[-1]["since_start"] == invalid.dropped == 1000


# What a stranger can do to img-rest's side


def greeted(address: str, kind: bytes = b"PULL") -> socket.socket:
    """A raw connection that has introduced itself as ZeroMQ wants it (ZMTP 3.0, NULL)."""
    host, port = address.removeprefix("tcp://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=5)
    raw.sendall(b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    raw.sendall(b"\x04" + bytes([len(ready)]) + ready)
    assert raw.recv(4096)
    return raw


@pytest.mark.parametrize("more", [False, True], ids=["messages", "one message whose parts never end"])
def test_a_listener_that_talks_fills_no_memory(more: bool) -> None:
    address = free_address()
    notifier = ZmqNotifier(address)
    talker = greeted(address)
    frame = bytes([2 | more]) + struct.pack(">Q", 60_000) + bytes(60_000)
    before = psutil.Process().memory_info().rss
    with suppress(ConnectionError):  # to be cut off is fine, too
        for _ in range(2000):  # 120 MB
            talker.sendall(frame)
    assert psutil.Process().memory_info().rss - before < 2**23
    talker.close()
    listener = ZmqListener(address)
    assert hears(listener, notifier)
    listener.close()
    notifier.close()


def test_listeners_that_never_read_block_no_notification_and_cost_little_memory() -> None:
    address = free_address()
    notifier = ZmqNotifier(address)
    silent = [greeted(address) for _ in range(50)]
    until_notified(notifier, notified := job())
    before = psutil.Process().memory_info().rss
    for _ in range(20_000):
        notifier.notify(notified)
    assert psutil.Process().memory_info().rss - before < 2**24
    for raw in silent:
        raw.close()
    notifier.close()
