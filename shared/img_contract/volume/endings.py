"""Waiting for jobs to end. One thread watches the jobs that are waited for, and it lives only while somebody waits.

The kernel tells it whose marker is removed from `pending/`, which is the last step of an ending. But it tells only what
is done on this machine, and not every system does. So the thread looks at the jobs, too: often until it is told of an
ending, and again when it was not told of one; otherwise now and then.

A thread for each client that woke every few milliseconds would cost more than the rest of its request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Final

from img_contract.errors import UnknownJob
from img_contract.volume.files import storage_faults
from img_contract.volume.layout import Layout
from img_contract.volume.removals import Removals

_SHORTEST: Final = 0.005
_LONGEST: Final = 0.25
_SHARE: Final = 0.1
"""A job is looked at again after this share of the time that was waited for it: an answer is late by a tenth."""


@dataclass(eq=False)
class _Waiter:
    """One caller that waits for one job."""

    job_id: str
    since: float
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
        self._thread: threading.Thread | None = None
        self._told = False
        """Whether the kernel told of the last ending."""

    def wait(self, job_id: str, seconds: float, given_up: Callable[[], bool]) -> bool:
        """See `ports.Jobs.wait_ended`."""
        if seconds <= 0:
            return self._ended(job_id)
        now = time.monotonic()
        waiter = _Waiter(job_id, now, now + (_LONGEST if self._told else _SHORTEST), given_up)
        with self._lock:
            self._waiting.add(waiter)
        try:
            if self._ended(job_id):  # what ended before the thread knew of the waiter, it will not be told
                return True
            self._ensure_thread()
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
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _watch(self) -> None:
        """Wait until something is told or due, again and again; end when nobody has waited for a while."""
        with closing(Removals(self._layout.pending)) as removals:
            for waiter in self._still_waiting():
                waiter.due = 0.0  # it may have ended before the kernel was asked
            pause, needed = 0.0, True
            while True:
                removed = removals.wait(pause)
                self._told = self._told or bool(removed)
                waiting, now = self._still_waiting(), time.monotonic()
                for waiter in waiting:
                    if waiter.job_id in removed or (waiter.due <= now and self._is_over(waiter, now)):
                        waiter.ended = waiter.ended or waiter.job_id in removed
                        self._release(waiter)
                with self._lock:
                    if not self._waiting and not needed:
                        self._thread = None
                        return
                # One who comes meanwhile wakes nobody, so it is never for long.
                pause, needed = (_LONGEST if self._told or not waiting else _SHORTEST), bool(waiting)

    def _still_waiting(self) -> list[_Waiter]:
        with self._lock:
            return list(self._waiting)

    def _release(self, waiter: _Waiter) -> None:
        with self._lock:
            self._waiting.discard(waiter)
        waiter.over.set()

    def _is_over(self, waiter: _Waiter, now: float) -> bool:
        try:
            waiter.ended = self._ended(waiter.job_id)
            if waiter.ended:
                self._told = False
            if waiter.ended or waiter.given_up():
                return True
        except Exception as error:  # noqa: BLE001  it is the waiter's, and must not end the watch for the others
            waiter.error = error
            return True
        waiter.due = now + (_LONGEST if self._told else min(max((now - waiter.since) * _SHARE, _SHORTEST), _LONGEST))
        return False
