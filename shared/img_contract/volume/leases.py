"""Leases that end without a wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path


class LeaseWatch:
    """Finds dead claims: those whose mtime has not changed for a lease, by this process's monotonic clock.

    Wall clocks are never compared: the mtime is only ever compared with itself. So only a process that has watched a
    claim for a whole lease can find it dead.
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease_seconds
        self._clock = clock
        self._seen: dict[str, tuple[str, int, float]] = {}

    def dead(self, claim: Path) -> bool:
        """Look at a claim once more; return whether it has now been still for a lease."""
        job_id = claim.parent.name
        try:
            beat = claim.lstat().st_mtime_ns
        except FileNotFoundError:
            return False  # released this moment; the next look will find the job free
        name, last_beat, since = self._seen.get(job_id, ("", 0, 0.0))
        if (name, last_beat) != (claim.name, beat):
            self._seen[job_id] = (claim.name, beat, self._clock())
            return False
        return self._clock() - since >= self._lease

    def forget_all_but(self, job_ids: Iterable[str]) -> None:
        """Drop what was seen of jobs that are no longer pending."""
        keep = set(job_ids)
        self._seen = {job_id: seen for job_id, seen in self._seen.items() if job_id in keep}
