"""Waiting for jobs to end. One thread looks at the jobs that are waited for, and it lives only while somebody waits.

A thread for each client that woke every few milliseconds would cost more than the rest of its request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from img_contract.errors import UnknownJob
from img_contract.volume.files import storage_faults
from img_contract.volume.layout import Layout

_SHORTEST: Final = 0.005
_LONGEST: Final = 0.25
_SHARE: Final = 0.1
"""A job is looked at again after this share of the time that was waited for it: an answer is late by a tenth."""


@dataclass(eq=False)
class _Waiter:
    """One caller that waits for one job."""

    job_id: str
    since: float
    until: float
    due: float
    given_up: Callable[[], bool]
    over: threading.Event = field(default_factory=threading.Event)
    ended: bool = False
    error: Exception | None = None


class EndWatch:
    """Tells callers in many threads when their jobs have ended."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._waiting: set[_Waiter] = set()
        self._arrived = threading.Event()
        self._thread: threading.Thread | None = None

    def wait(self, job_id: str, seconds: float, given_up: Callable[[], bool]) -> bool:
        """See `ports.Jobs.wait_ended`."""
        if self._ended(job_id):
            return True
        if seconds <= 0:
            return False
        now = time.monotonic()
        waiter = _Waiter(job_id, now, now + seconds, now + _SHORTEST, given_up)
        with self._lock:
            self._waiting.add(waiter)
        try:
            self._ensure_thread()
            self._arrived.set()
            waiter.over.wait(seconds)
        finally:
            with self._lock:
                self._waiting.discard(waiter)
        if waiter.error:
            raise waiter.error
        return waiter.ended

    def _ended(self, job_id: str) -> bool:
        try:
            with storage_faults("look whether a job has ended", self._layout.jobs):
                return self._layout.ended(job_id)
        except UnknownJob:
            return True

    def _ensure_thread(self) -> None:
        """Start the thread if none is running. Without it (the system may refuse one) a wait ends with its time."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="watch-jobs", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return
                self._thread = thread

    def _watch(self) -> None:
        """Look at the jobs that are due, sleep until the next one is, and end when nobody waits."""
        while True:
            self._arrived.clear()
            with self._lock:
                waiting = list(self._waiting)
                if not waiting:
                    self._thread = None
                    return
            now = time.monotonic()
            over = {waiter for waiter in waiting if waiter.due <= now and self._is_over(waiter, now)}
            with self._lock:
                self._waiting -= over
            for waiter in over:
                waiter.over.set()
            due = min((waiter.due for waiter in waiting if waiter not in over), default=now)
            self._arrived.wait(max(0.0, due - time.monotonic()))

    def _is_over(self, waiter: _Waiter, now: float) -> bool:
        try:
            waiter.ended = self._ended(waiter.job_id)
            if waiter.ended or waiter.given_up():
                return True
        except Exception as error:  # noqa: BLE001  it is the waiter's, and must not end the watch for the others
            waiter.error = error
            return True
        waiter.due = now + min(max((now - waiter.since) * _SHARE, _SHORTEST), _LONGEST)
        return False
