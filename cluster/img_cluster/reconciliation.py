"""Jobs whose messages the broker has lost are sent again: a queue was purged or deleted, a disk was lost.

Each job that has not ended has a marker in the store. If there are more markers than messages, then some of the jobs
are worked on, and the others have lost theirs. A job that is sent once too often costs one listing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from img_contract.errors import UnknownJob
from img_contract.job.job import JOB_ID

from img_cluster.bucket import PAGE
from img_cluster.deliveries import Deliveries
from img_cluster.objects import PENDING, JobObjects, JobsStore, job_of

BATCH: Final = 50
"""Jobs that are looked at in one step."""

log = structlog.get_logger(__name__)


class Reconciliation:
    """Compares the store with the broker. Every method raises StoreError."""

    def __init__(
        self,
        store: JobsStore,
        deliveries: Deliveries,
        lost_seconds: float,
        longest_attempt_seconds: float,
        is_mine: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._deliveries = deliveries
        self._lost = lost_seconds
        self._longest = longest_attempt_seconds
        self._is_mine = is_mine
        self._suspects: deque[str] = deque()
        self._missing = 0
        """How many of the jobs that were listed have no message that waits."""
        self._last: str | None = None
        """The name of the last of them, if there may be more."""

    def begin(self) -> None:
        """Compare how many jobs have not ended with how many messages wait, the oldest thousand jobs at first."""
        self._missing = -self._deliveries.waiting()
        self._suspects.clear()
        self._list(None)

    def step(self) -> bool:
        """Look at a few of the jobs, the oldest first; return whether there are more to look at."""
        sent = 0
        for _ in range(BATCH):
            if self._missing <= 0 or not self._suspects:
                break
            sent += self._settle(self._suspects.popleft())
        if sent:
            log.warning("jobs_sent_again", jobs=sent)
        if self._missing > 0 and self._last:
            self._list(self._last)
        return self._missing > 0 and bool(self._suspects)

    def _list(self, after: str | None) -> None:
        """List the next thousand jobs, which is one request: the more of them, the more messages are missing."""
        markers = self._store.bucket.names(PENDING, after=after)
        present = self._store.bucket.now()
        self._missing += len(markers)
        self._suspects += [name for name, entry in markers.items() if present - entry.modified > self._lost]
        self._last = next(reversed(markers)) if len(markers) == PAGE else None

    def unmark(self, job_id: str) -> None:
        """Remove the marker of a job that has ended, if it has one still."""
        try:
            job = self._store.read_what_is_sound(job_id)
        except UnknownJob:
            return
        if job:
            self._store.unmark(job_id, job.submitted_at)

    def _settle(self, name: str) -> bool:
        """Send the job of a marker again if nobody works on it, and return whether that was done."""
        job_id = job_of(name)
        found = self._store.look(job_id) if JOB_ID.fullmatch(job_id) else JobObjects({})
        self._missing -= 1
        if found.ended or not found.exists:
            # Older than a submission takes: its API died, or the engine that ended the job did.
            self._store.bucket.delete([f"{PENDING}/{name}"])
            return False
        if self._is_mine(job_id) or self._is_worked_on(found):
            return False
        self._deliveries.send(job_id)
        return True

    def _is_worked_on(self, found: JobObjects) -> bool:
        claim = f"claim.{found.attempts}"
        if claim not in found.names or f"{claim}.ended" in found.names:
            return False
        return self._store.bucket.now() - found.names[claim].modified <= self._longest
