"""A stderr that costs lines where it is closed, full or slow, and never time or an error."""

from __future__ import annotations

import io
import os
import select
import threading
from collections import deque
from multiprocessing.util import Finalize
from typing import Final

import structlog

_LINES_HELD: Final = 1000
"""Lines that wait for a slow stderr; further ones are dropped."""

_GATHERING_SECONDS: Final = 0.05
"""Lines of so long are written together. To wake a thread for each costs as much as to make it: the two threads
compete for the interpreter."""

_LAST_LINES_SECONDS: Final = 0.5
"""Time that the last lines have to be written at the end of the process."""

_ATOMIC_BYTES: Final = getattr(select, "PIPE_BUF", 512)
"""Processes that share a pipe do not mix their lines within so many bytes (POSIX, write)."""

log = structlog.get_logger(__name__)


class LossyStream(io.TextIOBase):
    """Writes to a file descriptor in a thread of its own; what cannot be written is dropped and counted.

    It uses no file object: at its end, the interpreter would wait for one that is in the middle of a write.
    """

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        """Lines dropped so far."""
        self._descriptor = descriptor
        self._reported = 0
        self._start()
        os.register_at_fork(after_in_child=self._start)  # in a child, the thread is gone and a lock may be held
        self.drain_at_exit()

    def write(self, text: str) -> int:
        """Take a line. Never blocks, never raises."""
        if len(self._lines) >= _LINES_HELD:
            self.dropped += 1
            self._hurry.set()
        else:
            self._lines.append(text)
        if not self._some.is_set():
            self._some.set()
        return len(text)

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def drain(self) -> None:
        """Wait, for a moment, until what was taken is written."""
        self._hurry.set()
        with self._written:
            self._written.wait_for(lambda: not self._lines and not self._writing, _LAST_LINES_SECONDS)

    def drain_at_exit(self) -> None:
        """Drain at the end of this process; a process that was forked has to ask for it again."""
        Finalize(None, self.drain, exitpriority=0)  # not atexit, which a process of multiprocessing passes by

    def _start(self) -> None:
        self._lines: deque[str] = deque()
        self._some = threading.Event()  # lines have come
        self._hurry = threading.Event()  # no time to gather more
        self._written = threading.Condition()
        self._writing = False
        threading.Thread(target=self._write_all, name="log-writer", daemon=True).start()

    def _write_all(self) -> None:
        while True:
            self._some.wait()
            self._hurry.wait(_GATHERING_SECONDS)
            self._hurry.clear()
            self._some.clear()  # before they are taken: who adds one now sets it again
            self._writing = True
            while self._lines:
                self._write_some()
            self._writing = False
            with self._written:
                self._written.notify_all()

    def _write_some(self) -> None:
        """Write as many lines together as processes do not mix, one at least."""
        taken = [self._lines.popleft().encode(errors="replace")]
        size = len(taken[0])
        while self._lines and size + 4 * len(self._lines[0]) <= _ATOMIC_BYTES:  # UTF-8 has four bytes at most
            taken.append(self._lines.popleft().encode(errors="replace"))
            size += len(taken[-1])
        rest = b"".join(taken)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:  # a closed pipe, a full disk
            self.dropped += len(taken)
        else:
            self._report()

    def _report(self) -> None:
        """Log how many lines were lost, as soon as a line has been written again."""
        if self.dropped > self._reported:
            since, self._reported = self.dropped - self._reported, self.dropped
            log.warning("log_lines_dropped", lines=since, since_start=self.dropped)
