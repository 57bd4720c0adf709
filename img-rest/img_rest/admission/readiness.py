"""Logging whether the service is ready: when that changes, not each time that somebody asks."""

from __future__ import annotations

import threading

import structlog

log = structlog.get_logger(__name__)

READY = "ok"


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
        write = log.info if code == READY else log.warning
        write("readiness_changed", code=code, reason=reason)
