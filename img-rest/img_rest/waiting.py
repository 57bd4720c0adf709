"""Long polls: clients that wait for a job to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from img_contract.ports import Jobs


class LongPolls:
    """Lets so many clients wait at a time; a further one is answered at once, as if it had not asked to wait."""

    def __init__(self, jobs: Jobs, most: int, stopping: Callable[[], bool]) -> None:
        self._jobs = jobs
        self._places = threading.BoundedSemaphore(most) if most else None
        self._stopping = stopping
        self._mine = threading.local()

    def wait(self, job_id: str, seconds: float, disconnected: Callable[[], bool] = lambda: False) -> None:
        """Return when the job has ended, the time is over, the client has disconnected, or the service stops.

        Raises StoreError.
        """
        if seconds <= 0 or self._places is None or not self._places.acquire(blocking=False):
            return
        began = time.perf_counter()
        try:
            self._jobs.wait_ended(job_id, seconds, lambda: disconnected() or self._stopping())
        finally:
            self._mine.waited = time.perf_counter() - began
            self._places.release()

    def waited(self) -> float:
        """Return how many seconds the caller's thread has spent in `wait` since it last asked."""
        seconds: float = getattr(self._mine, "waited", 0.0)
        self._mine.waited = 0.0
        return seconds
