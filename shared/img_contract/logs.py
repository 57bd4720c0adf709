"""Structured logs for both services: JSON lines, or colours on a terminal. A job's guid is always under `id`.

Logging is lossy and never raises: a stderr that is closed, full or slow costs lines, never a job or an answer.
"""

from __future__ import annotations

import io
import logging
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.util import Finalize
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

_LINES_HELD: Final = 1000
"""Lines that wait for a slow stderr; further ones are dropped."""

_LAST_LINES_SECONDS: Final = 0.5
"""Time that the last lines have to be written at the end of the process."""


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
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self.dropped += 1
        return len(text)

    def fileno(self) -> int:
        return self._descriptor

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


class LoggedMessages(logging.Handler):
    """Logs what libraries say by Python's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        log.error("library_message", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)


def configure_logs(level: str, service: str, observe: Callable[[Mapping[str, Any]], None] | None = None) -> None:
    """Set up logging to stderr, once in each process. `level`: debug, info, warning or error.

    `observe` is called with each event, whether it is logged or not: `level` and a stderr that takes nothing cost
    lines, and no counts.
    """
    threshold = getattr(logging, level.upper())
    stream = sys.stderr
    if isinstance(stream, LossyStream):
        stream.drain_at_exit()
    human = stream.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([_observed(observe), _dropped_below(threshold)] if observe else []),
            lambda _logger, _method, event: {"service": service, **event},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([_without_controls] if human else [structlog.processors.dict_tracebacks]),
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if observe else threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )


def open_standard_streams() -> None:
    """Make stderr lossy, and open /dev/null in place of a standard stream that is closed. Call it first of all.

    A file or socket that is opened before would get the number of the closed stream, and have lines written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            os.set_inheritable(number, True)  # noqa: FBT003  its meaning is the function's name
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    if not isinstance(sys.stderr, LossyStream):
        with suppress(OSError):  # it is no file of the system's
            sys.stderr = LossyStream(sys.stderr.fileno())


def say(text: str) -> None:
    """Write a line for a person to stderr."""
    sys.stderr.write(f"{text}\n")


def _observed(observe: Callable[[Mapping[str, Any]], None]) -> Processor:
    def processor(_logger: Any, _method: str, event: EventDict) -> EventDict:
        try:
            observe(event)
        except Exception as defect:  # noqa: BLE001  a defect of the counting must not become one of what is counted
            event["not_counted"] = repr(defect)
        return event

    return processor


def _dropped_below(threshold: int) -> Processor:
    levels = logging.getLevelNamesMapping()

    def processor(_logger: Any, method: str, event: EventDict) -> EventDict:
        if levels[method.upper()] < threshold:
            raise structlog.DropEvent
        return event

    return processor


def _without_controls(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """On a terminal, what a client wrote must not move the cursor; JSON escapes it by itself."""
    return {
        key: re.sub(r"[\x00-\x1f\x7f-\x9f]", "�", value) if isinstance(value, str) else value
        for key, value in event.items()
    }


log = structlog.get_logger(__name__)
