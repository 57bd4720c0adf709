"""A request's body on its way from the event loop to the thread that reads it, with a minimum rate.

A small one is collected first if it comes quickly: then its thread waits for nothing, and nothing passes between the
two but the whole of it. What is large or slow is read by its thread as it comes. What its client sends only when asked
for (`Expect: 100-continue`; granian asks when it is first read from) is fed from the first read on.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from img_rest.errors import UploadTooSlow

BUFFER_BYTES: Final = 256 * 1024
"""How much of a body is read ahead; a thread that waits for it is woken when so much has come."""

COLLECTED_BYTES: Final = 4 * 1024 * 1024
"""The largest body that is collected."""

_WORTH_BYTES: Final = 16 * 1024
"""A chunk of this size is handed on by itself: memory for a joined one costs more than another read."""

_COLLECTING_SECONDS: Final = 0.1
"""How long a thread is spared; then it reads what comes, and notices what is too slow."""


@dataclass(frozen=True)
class MinimumRate:
    """The slowest upload that is accepted."""

    bytes_per_second: float
    interval_seconds: float
    """The rate is checked after each such time of waiting, for that time alone: a fast beginning earns no credit."""

    def check(self, received: int, seconds: float) -> None:
        """Raise UploadTooSlow if so few bytes came in so many seconds of waiting."""
        if received < seconds * self.bytes_per_second:
            raise UploadTooSlow(
                f"expected at least {self.bytes_per_second:g} bytes a second, found {received} in {seconds:.0f} seconds"
            )


class Room:
    """The memory in which bodies are collected. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take so many bytes; False if there are not as many."""
        with self._lock:
            if fits := size <= self._free:
                self._free -= size
            return fits

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        with self._lock:
            self._free += size


class Body:
    """The body of one request: `wsgi.input`. It is fed in the event loop and read in a thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: Any,
        minimum_rate: MinimumRate,
        length: int | None = None,
        room: Room | None = None,
    ) -> None:
        """`length`: that of the body, if it is known. It is collected if there is room for it."""
        self._loop = loop
        self._protocol = protocol
        self._minimum_rate = minimum_rate
        self._left = length
        """Bytes that are still to come, if that is known."""
        self._room = room
        self._lent = length if length and room and length <= COLLECTED_BYTES and room.take(length) else 0
        self._ahead = max(self._lent, BUFFER_BYTES)
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._wanted = 0
        """Bytes that a thread waits for; 0 if none does."""
        self._feeding: asyncio.Task[None] | None = None
        self._asked_for = False
        self._ended = False
        self._wants_more = asyncio.Event()
        self._wants_more.set()

    @property
    def asked_for(self) -> bool:
        """Whether the client was asked to send it, or sends it without."""
        return self._asked_for

    async def start(self) -> None:
        """Begin to feed it, and return once it is time for a thread to read."""
        self._asked_for = True
        self._feeding = self._loop.create_task(self._feed())
        if self._lent:
            await asyncio.wait({self._feeding}, timeout=_COLLECTING_SECONDS)

    def _start_late(self) -> None:
        if self._protocol is not None:
            self._feeding = self._loop.create_task(self._feed())

    async def _feed(self) -> None:
        """Read ahead of the reading thread until the body ends or this task is cancelled."""
        try:
            async for chunk in self._protocol:
                with self._changed:
                    self._chunks.append(chunk)
                    self._held += len(chunk)
                    if self._left is not None:
                        self._left -= len(chunk)
                    if self._left == 0:
                        return
                    if self._wanted and self._held >= self._wanted:
                        self._changed.notify()
                    if self._held < self._ahead:
                        continue
                    self._wants_more.clear()
                await self._wants_more.wait()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def read(self, size: int = -1, until: float = math.inf) -> bytes:
        """Return the next bytes, at most `size`; none at the end. At `until`, a time.monotonic(), return what has come.

        Raises UploadTooSlow.
        """
        most = BUFFER_BYTES if size < 0 else min(size, BUFFER_BYTES)
        if not self._asked_for:
            self._asked_for = True
            self._loop.call_soon_threadsafe(self._start_late)
        with self._changed:
            before = self._held
            began = now = time.monotonic()
            self._wanted = most
            while self._held < most and not self._ended and now < until:
                self._changed.wait(timeout=min(1.0, until - now))
                now = time.monotonic()
                if self._held < most and now - began >= self._minimum_rate.interval_seconds:
                    self._minimum_rate.check(self._held - before, now - began)
                    before, began = self._held, now
            self._wanted = 0
            taken = self._take(most)
            if self._ended and not self._held:
                self._return_room()
            if self._held < self._ahead and not self._wants_more.is_set():
                self._loop.call_soon_threadsafe(self._wants_more.set)
        return taken

    def release(self) -> None:
        """Stop feeding it, and let go of granian's protocol, once the request is answered.

        Granian ends the connection over an unread body only when nobody holds its protocol any more, and this object
        may live until garbage is collected: Werkzeug's request and its environment refer to each other.
        """
        self._protocol = None
        if self._feeding is not None:
            self._feeding.cancel()
        with self._changed:
            self._ended = True
            self._changed.notify()
            self._return_room()

    def _return_room(self) -> None:
        if self._room and self._lent:
            self._room.give_back(self._lent)
            self._lent = 0

    def _take(self, most: int) -> bytes:
        parts: list[bytes] = []
        while most and self._chunks and not (parts and len(parts[0]) >= _WORTH_BYTES):
            chunk = self._chunks.popleft()
            if len(chunk) > most:
                self._chunks.appendleft(chunk[most:])
                chunk = chunk[:most]
            parts.append(chunk)
            most -= len(chunk)
            self._held -= len(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)
