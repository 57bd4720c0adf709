"""The gateway: the environment that it makes of a request, and how long it waits for a body."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from img_contract.testing import HANG_SECONDS
from img_rest.errors import UploadTooSlow
from img_rest.server.body import Body, MinimumRate, Room
from img_rest.server.gateway import wsgi_environ


class Sent:
    """What a client sends: pieces, and then nothing more."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.arrived = threading.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        self.arrived.set()
        await asyncio.Event().wait()


@pytest.fixture
def body() -> Iterator[Callable[..., Body]]:
    """Bodies that come through an event loop in a thread of its own, as granian's does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def made(*pieces: bytes, bytes_per_second: float = 1024) -> Body:
        sent = Sent(*pieces)
        one = Body(loop, sent, MinimumRate(bytes_per_second, interval_seconds=0.5))
        asyncio.run_coroutine_threadsafe(one.start(), loop)
        assert sent.arrived.wait(HANG_SECONDS)
        return one

    async def end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_asyncgens()

    yield made
    asyncio.run_coroutine_threadsafe(end(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_a_fast_beginning_earns_no_time_for_what_follows(body: Callable[..., Body]) -> None:
    """200 kB would do for 195 seconds at the minimum rate; what follows is measured by itself."""
    with pytest.raises(UploadTooSlow, match="found 0 in"):
        body(bytes(200_000)).read(256 * 1024)


def test_a_read_that_is_limited_in_time_returns_what_has_come(body: Callable[..., Body]) -> None:
    one = body(b"abc", bytes(1000), bytes_per_second=0)
    assert len(one.read(256 * 1024, until=time.monotonic() + 0.05)) == 1003
    assert one.read(256 * 1024, until=time.monotonic() - 1) == b""


def test_a_body_of_known_length_is_collected_and_gives_its_room_back_when_it_was_read() -> None:
    room = Room(1000)

    async def collected() -> Body:
        sent = Sent(bytes(600), bytes(400))
        one = Body(asyncio.get_running_loop(), sent, MinimumRate(1024, interval_seconds=0.5), 1000, room)
        await one.start()  # its end is known by its length: the client sends nothing that says so
        return one

    one = asyncio.run(collected())
    assert not room.take(1)
    assert [len(one.read(900)), len(one.read(900)), len(one.read(900))] == [900, 100, 0]
    assert room.take(1000)


def test_a_body_that_is_released_unread_gives_its_room_back() -> None:
    room = Room(1000)
    loop = asyncio.new_event_loop()
    Body(loop, Sent(), MinimumRate(1024, interval_seconds=0.5), 1000, room).release()
    loop.close()
    assert room.take(1000)


def scope(path: str = "/", query: str = "", **headers: str) -> Any:
    return SimpleNamespace(
        method="GET",
        path=path,
        query_string=query,
        server="127.0.0.1:8080",
        client="127.0.0.1:1",
        http_version="1.1",
        scheme="http",
        authority=None,
        headers={name.replace("__", "-"): value for name, value in headers.items()},
    )


def test_a_header_with_an_underscore_is_dropped() -> None:
    """X_Forwarded_For would be X-Forwarded-For, past the proxy that writes it."""
    environ = wsgi_environ(scope(x__forwarded__for="1.2.3.4", x_forwarded_for="6.6.6.6", content_length="5"))
    assert environ["HTTP_X_FORWARDED_FOR"] == "1.2.3.4"
    assert "CONTENT_LENGTH" not in environ


def test_what_is_no_latin_1_is_passed_on_in_bytes_as_wsgi_demands() -> None:
    environ = wsgi_environ(scope("/€%e2%82%ac", "x=€"))
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/€€"
    assert environ["QUERY_STRING"].encode("latin-1").decode() == "x=€"
