"""Whether the client of a request is still connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

DISCONNECTED: Final = "img_rest.disconnected"
"""The key of `Client.disconnected` in a request's WSGI environment, where a server offers what PEP 3333 leaves out."""


def disconnect_check(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Return a callable that reports whether the client of this request has disconnected."""
    check: Callable[[], bool] = environ.get(DISCONNECTED, lambda: False)
    return check


class Client:
    """The client of one request. Nothing is watched until somebody asks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        self._loop = loop
        self._protocol = protocol
        self._watched = self._disconnected = False
        self._watch: asyncio.Task[None] | None = None

    def disconnected(self) -> bool:
        """Return whether the client has disconnected. Cheap; the first call, which starts the watch, returns False."""
        if not self._watched:
            self._watched = True
            self._loop.call_soon_threadsafe(self._start)
        return self._disconnected

    def release(self) -> None:
        """Stop watching once the request is answered, and let go of granian's protocol; see `Body.release`."""
        self._protocol = None
        if self._watch is not None:
            self._watch.cancel()

    def _start(self) -> None:
        if self._protocol is not None:
            self._watch = self._loop.create_task(self._follow())

    async def _follow(self) -> None:
        await self._protocol.client_disconnect()
        self._disconnected = True
