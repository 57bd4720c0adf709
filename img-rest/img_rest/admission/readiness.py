"""Logging whether the service is ready: when that changes, not each time that somebody asks."""

from __future__ import annotations

import logging
import threading
from typing import Final

import structlog

log = structlog.get_logger(__name__)

READY: Final = "ok"


class Readiness:
    """What was answered last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = READY

    def note(self, code: str, reason: str = "") -> None:
        """Log an answer if it is another than the last one: `READY`, or the code of a problem."""
        with self._lock:
            if code == self._last:
                return
            self._last = code
        level = logging.INFO if code == READY else logging.WARNING
        log.log(level, "readiness_changed", code=code, reason=reason)
