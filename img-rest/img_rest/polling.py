"""Bounds on what takes a thread for long, so that one kind of request never keeps the others out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from img_contract.store import JobStore

from .errors import UploadsFull

_SHORTEST: Final = 0.005
_LONGEST: Final = 0.25
_SHARE: Final = 0.1
"""A waiter looks again after this share of the time it has waited: an answer is late by a tenth at most."""


class Waiters:
    """So many clients may wait at once; a further one is answered at once, as if it had not asked to wait."""

    def __init__(self, store: JobStore, most: int, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._places = threading.BoundedSemaphore(most) if most else None
        self._stopping = stopping

    def wait(self, job_id: str, seconds: float) -> None:
        """Return when the job has ended, when the time is over, or when the service stops. Raises UnknownJob."""
        if seconds <= 0 or self._places is None or not self._places.acquire(blocking=False):
            return
        try:
            began = time.monotonic()
            while not self._store.ended(job_id) and not self._stopping():
                waited = time.monotonic() - began
                if waited >= seconds:
                    return
                time.sleep(min(max(waited * _SHARE, _SHORTEST), _LONGEST, seconds - waited))
        finally:
            self._places.release()


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
