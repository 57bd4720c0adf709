"""Bounds on what takes a thread for long, so that one kind of request never keeps the others out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from img_contract.ports import JobStore

from img_rest.errors import UploadsFull

_SHORTEST: Final = 0.005
_LONGEST: Final = 0.25
_SHARE: Final = 0.1
"""A job is looked at again after this share of the time that was waited for it: an answer is late by a tenth."""


@dataclass(eq=False)
class _Waiter:
    """One client that waits for one job."""

    job_id: str
    since: float
    until: float
    due: float
    gone: Callable[[], bool]
    over: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class LongPolls:
    """So many clients may wait at once; a further one is answered at once, as if it had not asked to wait.

    One thread looks at the jobs of all of them, and it lives only while somebody waits: a thread for each client that
    woke every few milliseconds would cost more than the rest of its request.
    """

    def __init__(self, store: JobStore, most: int, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._most = most
        self._stopping = stopping
        self._lock = threading.Lock()
        self._waiting: set[_Waiter] = set()
        self._newcomer = threading.Event()
        self._watching = False

    def wait(self, job_id: str, seconds: float, gone: Callable[[], bool] = lambda: False) -> None:
        """Return when the job has ended, the time is over, the client has gone, or the service stops.

        Raises UnknownJob.
        """
        if seconds <= 0 or self._store.ended(job_id) or self._stopping():
            return
        now = time.monotonic()
        waiter = _Waiter(job_id, now, now + seconds, now + _SHORTEST, gone)
        with self._lock:
            if len(self._waiting) >= self._most:
                return
            self._waiting.add(waiter)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="watch-jobs", daemon=True).start()
        self._newcomer.set()
        waiter.over.wait()
        if waiter.error:
            raise waiter.error

    def _watch(self) -> None:
        """Look at the jobs that are due, sleep until the next one is, and end when nobody waits."""
        while True:
            self._newcomer.clear()
            with self._lock:
                waiting = list(self._waiting)
                if not waiting:
                    self._watching = False
                    return
            now, stopping = time.monotonic(), self._stopping()
            over = {waiter for waiter in waiting if stopping or (waiter.due <= now and self._is_over(waiter, now))}
            with self._lock:
                self._waiting -= over
            for waiter in over:
                waiter.over.set()
            due = min((waiter.due for waiter in waiting if waiter not in over), default=now)
            self._newcomer.wait(max(0.0, due - time.monotonic()))

    def _is_over(self, waiter: _Waiter, now: float) -> bool:
        try:
            if now >= waiter.until or waiter.gone() or self._store.ended(waiter.job_id):
                return True
        except Exception as error:  # noqa: BLE001  it is the waiter's, and must not end the watch for the others
            waiter.error = error
            return True
        pause = min(max((now - waiter.since) * _SHARE, _SHORTEST), _LONGEST)
        waiter.due = min(now + pause, waiter.until)
        return False


class UploadPlaces:
    """So many uploads may be under way at once; a further one is refused. A context manager for one upload."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = threading.BoundedSemaphore(most)

    def __enter__(self) -> None:
        if not self._places.acquire(blocking=False):
            raise UploadsFull(
                f"expected fewer than {self._most} uploads under way, found {self._most}; try again later",
                limit=self._most,
                actual=self._most,
            )

    def __exit__(self, *_: object) -> None:
        self._places.release()
