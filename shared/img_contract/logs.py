"""Structured logs for both services: JSON lines, or colours on a terminal. A job's guid is always under `id`.

Logging is lossy and never raises: a stderr that is closed, full or slow costs lines, never a job or an answer.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from img_contract.lossy_stream import LossyStream


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


def tell(text: str) -> int:
    """Write what a command was asked for to stdout; return its exit status: 1 if that cannot be written."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        say(f"expected a stdout that can be written, found: {error.strerror}")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # the interpreter writes at its end what is left, and would fail again
        os.close(nowhere)
        return 1
    return 0


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
