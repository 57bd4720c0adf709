"""A stderr that costs lines where it is closed, full or slow, and never time or an error."""

from __future__ import annotations

import io
import os
import queue
import threading
from multiprocessing.util import Finalize
from typing import Final

import structlog

_LINES_HELD: Final = 1000
"""Lines that wait for a slow stderr; further ones are dropped."""

_LAST_LINES_SECONDS: Final = 0.5
"""Time that the last lines have to be written at the end of the process."""

log = structlog.get_logger(__name__)


class LossyStream(io.TextIOBase):
    """Writes to a file descriptor in a thread of its own; what cannot be written is dropped and counted.

    It uses no file object: at its end, the interpreter would wait for one that is in the middle of a write.
    """

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        """Lines dropped so far."""
        self._number = descriptor
        self._descriptor = os.dup(descriptor)  # the number leads elsewhere while helpers are started with other streams
        self._reported = 0
        self._start()
        os.register_at_fork(after_in_child=self._start)  # in a child, the thread is gone and a lock may be held
        self.drain_at_exit()

    def write(self, text: str) -> int:
        """Take a line. Never blocks, never raises."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self.dropped += 1
        return len(text)

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def drain(self) -> None:
        """Wait, for a moment, until what was taken is written."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, _LAST_LINES_SECONDS)

    def drain_at_exit(self) -> None:
        """Drain at the end of this process; a process that was forked has to ask for it again."""
        Finalize(None, self.drain, exitpriority=0)  # not atexit, which a process of multiprocessing passes by

    def _start(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue(_LINES_HELD)
        threading.Thread(target=self._write_all, name="log-writer", daemon=True).start()

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            rest = line.encode(errors="replace")
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:  # a closed pipe, a full disk
                self.dropped += 1
            else:
                self._report()
            self._lines.task_done()

    def _report(self) -> None:
        """Log how many lines were lost, as soon as a line has been written again."""
        if self.dropped > self._reported:
            since, self._reported = self.dropped - self._reported, self.dropped
            log.warning("log_lines_dropped", lines=since, since_start=self.dropped)
