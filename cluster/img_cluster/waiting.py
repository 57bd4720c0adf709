"""The jobs that have not ended, in the order in which the broker delivers them, for many who ask at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from img_contract.job.job import JOB_ID
from img_contract.waiting import Waiting

from img_cluster.bucket import PAGE
from img_cluster.index import place_of
from img_cluster.objects import PENDING, JobsStore, job_of

_FRESH_SECONDS: Final = 5.0
"""Each look costs a request for a thousand jobs, and one for each job that was begun since the last."""
_MOST: Final = 20 * PAGE
"""Jobs that are looked at; what is behind them has no position."""
_LOOK_AHEAD: Final = 16
"""Engines get the oldest jobs first: where so many in a row are not begun, those behind them are not either."""


class WaitingJobs:
    """Looks at the markers now and then, if somebody asks. Thread-safe."""

    def __init__(self, store: JobsStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._found = Waiting()
        self._begun: set[str] = set()
        self._due = float("-inf")

    def now(self) -> Waiting:
        """Return what was found a few seconds ago at most. Raises StoreError."""
        with self._lock:
            if self._clock() >= self._due:
                self._look()
                self._due = self._clock() + _FRESH_SECONDS
            return self._found

    def _look(self) -> None:
        listed = self._store.bucket.names(PENDING, _MOST)
        ours = (name for name in listed if JOB_ID.fullmatch(job_of(name)) and place_of(name).isdecimal())
        order = [(int(place_of(name)) * 1000, job_of(name)) for name in ours]  # markers have microseconds
        self._begun &= {job_id for _, job_id in order}
        unknown = [job_id for _, job_id in order if job_id not in self._begun]
        with ThreadPoolExecutor(_LOOK_AHEAD) as threads:
            for start in range(0, len(unknown), _LOOK_AHEAD):
                row = unknown[start : start + _LOOK_AHEAD]
                begun = [job_id for job_id, has in zip(row, threads.map(self._has_begun, row), strict=True) if has]
                self._begun.update(begun)
                if not begun:
                    break
        self._found = Waiting.of(order, self._begun)

    def _has_begun(self, job_id: str) -> bool:
        return self._store.bucket.exists(f"{self._store.folder(job_id)}/claim.1")
