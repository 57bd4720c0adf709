"""Reading what the client of a refused upload still sends.

A connection that is closed over unread data is reset, and the client never sees why its upload was refused.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

from img_rest.errors import UploadsFull, UploadTooSlow
from img_rest.requests.receiver import PORTION_BYTES
from img_rest.server.body import Body

_LONGEST_SECONDS: Final = 10.0
_MOST_AT_ONCE: Final = 32
"""These places are not those of uploads: clients without a key must not take the places of clients with one."""


class Drain:
    """Reads refused uploads to their end: for a while, so many bytes at most, and so many uploads at once."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def read_rest(self, stream: Any, error: Exception) -> None:
        """Read a body (`wsgi.input`) that was refused with this error, and drop it."""
        if isinstance(error, UploadsFull | UploadTooSlow):
            return  # reading on would take more of what there is too little of
        if isinstance(stream, Body) and not stream.asked_for:
            return  # the client waits with it for this answer
        if not self._places.acquire(blocking=False):
            return
        try:
            left, until = self._most_bytes, time.monotonic() + _LONGEST_SECONDS
            read = partial(stream.read, until=until) if isinstance(stream, Body) else stream.read
            with suppress(UploadTooSlow):
                while left > 0 and time.monotonic() < until and (portion := read(PORTION_BYTES)):
                    left -= len(portion)
        finally:
            self._places.release()
