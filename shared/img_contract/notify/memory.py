"""Notifications within one process, for tests."""

from __future__ import annotations

import queue

from img_contract.job.job import Job


class MemoryNotifier:
    """Both sides."""

    def __init__(self, capacity: int = 1000) -> None:
        self._jobs: queue.Queue[Job] = queue.Queue(capacity)

    def notify(self, job: Job) -> bool:
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def wait(self, seconds: float) -> Job | None:
        try:
            return self._jobs.get(timeout=seconds) if seconds > 0 else self._jobs.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        return None
