"""Hearing from the kernel which files are removed from a folder: inotify(7), which Linux has, for what it does itself.

What another machine does to a network file system is not told, nor what comes faster than it is read.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

_IN_DELETE: Final = 0x200
_HEAD: Final = struct.Struct("iIII")
"""Of an event: the watch, what happened, a cookie, and the length of the name that follows, padded with zeros."""
_MOST_BYTES: Final = 64 * 1024


class Removals:
    """The names that are removed from a folder, from now on; none where the system cannot tell."""

    def __init__(self, folder: Path) -> None:
        self._poll = select.poll()
        self._descriptor = -1
        libc = ctypes.CDLL(None)
        with suppress(AttributeError):  # not Linux
            self._descriptor = libc.inotify_init1(os.O_CLOEXEC)
        if self._descriptor >= 0:
            libc.inotify_add_watch(self._descriptor, os.fsencode(folder), ctypes.c_uint32(_IN_DELETE))
            self._poll.register(self._descriptor, select.POLLIN)

    def wait(self, seconds: float) -> set[str]:
        """Return the names that were removed since the last call; none if there are none within so many seconds."""
        names: set[str] = set()
        if not self._poll.poll(seconds * 1000):
            return names
        events = os.read(self._descriptor, _MOST_BYTES)
        start = 0
        while start < len(events):
            *_, length = _HEAD.unpack_from(events, start)
            start += _HEAD.size + length
            names.add(os.fsdecode(events[start - length : start].rstrip(b"\0")))
        return names

    def close(self) -> None:
        """Hear no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
