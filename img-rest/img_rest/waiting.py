"""Long polls: clients that wait for a job to end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from img_contract.ports import Jobs


class LongPolls:
    """So many clients may wait at once; a further one is answered at once, as if it had not asked to wait."""

    def __init__(self, jobs: Jobs, most: int, stopping: Callable[[], bool]) -> None:
        self._jobs = jobs
        self._places = threading.BoundedSemaphore(most) if most else None
        self._stopping = stopping

    def wait(self, job_id: str, seconds: float, gone: Callable[[], bool] = lambda: False) -> None:
        """Return when the job has ended, the time is over, the client has gone, or the service stops.

        Raises StoreError.
        """
        if seconds <= 0 or self._places is None or not self._places.acquire(blocking=False):
            return
        try:
            self._jobs.wait_ended(job_id, seconds, lambda: gone() or self._stopping())
        finally:
            self._places.release()
