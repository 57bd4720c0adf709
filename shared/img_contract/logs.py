"""Structured logs for both containers: JSON lines, or colours on a terminal. A job's guid is always under `id`."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog
from structlog.typing import EventDict


def _without_controls(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """On a terminal, what a client wrote must not move the cursor; JSON escapes it by itself."""
    return {
        key: re.sub(r"[\x00-\x1f\x7f-\x9f]", "�", value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def configure_logs(level: str, service: str) -> None:
    """Set up logging to stderr, once, from a composition root. `level`: debug, info, warning or error."""
    human = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            lambda _logger, _method, event: {"service": service, **event},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([_without_controls] if human else [structlog.processors.dict_tracebacks]),
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
