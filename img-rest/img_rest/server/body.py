"""A request's body on its way from the event loop to the thread that reads it, with a minimum rate."""

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


class Body:
    """The body of one request: `wsgi.input`. It is fed in the event loop and read in a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, minimum_rate: MinimumRate) -> None:
        self._loop = loop
        self._protocol = protocol
        self._minimum_rate = minimum_rate
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._wanted = 0
        """Bytes that a thread waits for; 0 if none does."""
        self._ended = False
        self._room = asyncio.Event()
        self._room.set()

    async def feed(self) -> None:
        """Read ahead of the reading thread until the body ends or this task is cancelled."""
        try:
            async for chunk in self._protocol:
                with self._changed:
                    self._chunks.append(chunk)
                    self._held += len(chunk)
                    if self._wanted and self._held >= self._wanted:
                        self._changed.notify()
                    if self._held < BUFFER_BYTES:
                        continue
                    self._room.clear()
                await self._room.wait()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def read(self, size: int = -1, until: float = math.inf) -> bytes:
        """Return the next bytes, at most `size`; none at the end. At `until`, a time.monotonic(), return what has come.

        Raises UploadTooSlow.
        """
        most = BUFFER_BYTES if size < 0 else min(size, BUFFER_BYTES)
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
            if self._held < BUFFER_BYTES and not self._room.is_set():
                self._loop.call_soon_threadsafe(self._room.set)
        return taken

    def release(self) -> None:
        """Let go of granian's protocol once the request is answered.

        Granian ends the connection over an unread body only when nobody holds its protocol any more, and this object
        may live until garbage is collected: Werkzeug's request and its environment refer to each other.
        """
        self._protocol = None

    def _take(self, most: int) -> bytes:
        parts: list[bytes] = []
        while most and self._chunks:
            chunk = self._chunks.popleft()
            if len(chunk) > most:
                self._chunks.appendleft(chunk[most:])
                chunk = chunk[:most]
            parts.append(chunk)
            most -= len(chunk)
            self._held -= len(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)
