"""The engine's side of the volume: which job is next, and what is tried again.

`pending/` is polled, oldest job first, and that is the real delivery. A notification only spares the wait for the next
poll. A job whose attempt was abandoned cost a child its life or its time: it is tried again behind the others, one such
job at a time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from img_contract.errors import DamagedRecord, JobTooNew, UnknownJob
from img_contract.failpoints import failpoint
from img_contract.job.job import Job, now
from img_contract.job.outcome import Failure, FailureCode, Outcome, State, attempts_exhausted
from img_contract.notify.notifier import Listener
from img_contract.records import ClaimRecord, attempts_in
from img_contract.volume.claims import VolumeClaim, last_reason
from img_contract.volume.cleanup import Cleanup
from img_contract.volume.engines import Engines
from img_contract.volume.files import names_in, storage_faults
from img_contract.volume.layout import Layout, read_job, started_at
from img_contract.volume.leases import LeaseWatch

POLL_BATCH: Final = 1000
"""One poll looks at so many of the oldest pending jobs; the rest wait their turn."""

IDLE_POLL_SECONDS: Final = 1.0
"""Interval of an idle engine's polls: the cost of a lost notification."""

BUSY_POLL_SECONDS: Final = 5.0
"""An engine with jobs polls at least this often, so that it watches leases and takes the oldest first."""

_SHORTEST_PAUSE: Final = 0.1
_POLL_SHARE: Final = 0.02
"""And more often, down to that pause, as long as polling takes no more than this share of the time: notifications that
come while all slots are busy are lost, and a slot that becomes free should not wait for a job that is there."""

MAINTENANCE_SECONDS: Final = 1.0
"""Interval of housekeeping."""

log = structlog.get_logger(__name__)


class VolumeWork:
    """Work on a volume; see `ports.Work`."""

    def __init__(
        self,
        layout: Layout,
        listener: Listener,
        engine: str,
        *,
        lease_seconds: float = 30.0,
        attempts: int = 3,
        retention_seconds: float = 24 * 3600.0,
        version: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._listener = listener
        self._engine = engine
        self._version = version
        self._attempts = attempts
        self._clock = clock
        self._watch = LeaseWatch(lease_seconds, clock)
        self._cleanup = Cleanup(layout, retention_seconds)
        self._maintained_at = float("-inf")
        self._candidates: deque[str] = deque()
        self._retries: deque[str] = deque()
        self._polled_at = float("-inf")
        self._poll_took = 0.0
        self._lock = threading.Lock()
        self._held: set[str] = set()
        """Jobs whose claims were handed out and are not closed yet."""
        self._abandoned: dict[str, float] = {}
        """Jobs whose last attempt here was abandoned, and when."""
        self._too_new: set[str] = set()
        """Jobs that were left for a newer engine. Their records never change, so they are not looked at again."""

    def next(self, seconds: float) -> VolumeClaim | None:
        if self._clock() >= self._poll_due():
            self._poll()
        deadline = self._clock() + seconds
        retry = self._retry_may_start()
        if retry and self._clock() - self._abandoned.get(self._retries[0], 0.0) >= BUSY_POLL_SECONDS:
            return self.claim(self._retries.popleft())
        while self._candidates:
            if claim := self.claim(self._candidates.popleft()):
                return claim
            if self._clock() >= deadline:
                return None
        job = self._listener.wait(0.0 if retry else max(0.0, min(deadline, self._poll_due()) - self._clock()))
        if job is not None and job.id not in self._abandoned:
            return self.claim(job.id)
        if retry:
            return self.claim(self._retries.popleft())
        if not self._held:
            self._polled_at = float("-inf")  # idle: the next call polls without waiting for its time
        return None

    def stop_taking(self) -> None:
        return None  # nothing is fetched ahead

    def maintain(self) -> None:
        if self._clock() - self._maintained_at < MAINTENANCE_SECONDS:
            return
        self._maintained_at = self._clock()
        with storage_faults("clean up", self._layout.root):
            self._cleanup.run_batch()

    def announce(self) -> None:
        Engines(self._layout).announce(self._engine, len(self._too_new), self._version)

    def publish_metrics(self, text: str) -> None:
        Engines(self._layout).publish_metrics(self._engine, text)

    def withdraw(self) -> None:
        Engines(self._layout).withdraw(self._engine)

    def close(self) -> None:
        self._listener.close()

    def pending(self) -> list[str]:
        """List the jobs that could be claimed now, oldest first (the oldest thousand at most). Raises StoreError."""
        with storage_faults("look for jobs", self._layout.pending):
            entries = self._layout.markers()
            self._too_new.intersection_update(entry.name for entry in entries)
            markers = []
            for entry in entries:
                if entry.name in self._too_new:
                    continue
                try:
                    markers.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
                except FileNotFoundError:
                    continue  # its job ended this moment
        ids = [name for _, name in sorted(markers)][:POLL_BATCH]
        self._watch.forget_all_but(ids)
        return [job_id for job_id in ids if self._attempts_if_claimable(job_id) is not None]

    def claim(self, job_id: str) -> VolumeClaim | None:
        """Claim a job. None if that cannot be done: it has ended, is unknown, or is claimed by a live engine."""
        with self._lock:
            # A claim of ours may look dead to ourselves, if we were frozen for a lease; its holder is still at it.
            if job_id in self._held or job_id in self._too_new:
                return None
        failpoint("job.received")
        attempts = self._attempts_if_claimable(job_id)
        if attempts is None:
            return None
        folder = self._layout.folder(job_id)
        claim = None
        try:
            with storage_faults("claim a job", folder, missing_passes=True):
                job = read_job(folder)
                if attempts < self._attempts:
                    holder = ClaimRecord(engine=self._engine, started_at=now())
                    claim = VolumeClaim(self._layout, job, attempts + 1, holder, self._closed, self._noted_abandoned)
                    claim = claim.take()
                    if claim:
                        _log_lost(folder, attempts)
                else:
                    self._give_up(folder, job, attempts, attempts_exhausted(attempts, last_reason(folder, attempts)))
        except JobTooNew as newer:
            self._too_new.add(job_id)
            log.warning("job_too_new", id=job_id, reason=str(newer))
        except DamagedRecord as error:
            failure = Failure(code=FailureCode.JOB_DAMAGED, detail=f"the job is damaged: {error}")
            with storage_faults("end a job", folder):
                self._give_up(folder, None, attempts, failure)
        except FileNotFoundError:
            return None  # it expired while we looked
        if claim:
            with self._lock:
                self._held.add(job_id)
        return claim

    def _poll(self) -> None:
        began = self._clock()
        pending = self.pending()
        with self._lock:
            known = {*pending, *self._held}
            self._abandoned = {job_id: since for job_id, since in self._abandoned.items() if job_id in known}
            self._candidates = deque(job_id for job_id in pending if job_id not in self._abandoned)
            self._retries = deque(job_id for job_id in pending if job_id in self._abandoned)
        self._polled_at = self._clock()
        self._poll_took = self._polled_at - began

    def _poll_due(self) -> float:
        """Return when to look at the volume next, by the clock."""
        pause = min(max(self._poll_took / _POLL_SHARE, _SHORTEST_PAUSE), BUSY_POLL_SECONDS)
        return self._polled_at + (pause if self._held else IDLE_POLL_SECONDS)

    def _retry_may_start(self) -> bool:
        with self._lock:
            return bool(self._retries) and self._held.isdisjoint(self._abandoned)

    def _attempts_if_claimable(self, job_id: str) -> int | None:
        """Return how many attempts the job has had, if it can be claimed now; else None."""
        with storage_faults("look at a job", self._layout.jobs):
            try:
                folder = self._layout.folder(job_id)
                names = names_in(folder)
            except (UnknownJob, FileNotFoundError):
                return None
            if "outcome.json" in names:  # an engine died between the outcome and the marker
                self._layout.unmark(job_id)
                return None
            attempts = attempts_in(names)
            if attempts == 0 or f"claim.{attempts}.ended" in names or self._watch.dead(folder / f"claim.{attempts}"):
                return attempts
            return None

    def _give_up(self, folder: Path, job: Job | None, attempts: int, failure: Failure) -> None:
        started = started_at(folder, attempts)
        outcome = Outcome(state=State.FAILED, attempt=attempts, started_at=started, finished_at=now(), error=failure)
        recorded = self._layout.end(folder.name, outcome, job)
        if recorded:
            _log_lost(folder, attempts)
        log.warning("job_failed", id=folder.name, code=failure.code, reason=failure.detail, recorded=recorded)

    def _closed(self, job_id: str) -> None:
        with self._lock:
            self._held.discard(job_id)

    def _noted_abandoned(self, job_id: str) -> None:
        with self._lock:
            self._abandoned[job_id] = self._clock()


def _log_lost(folder: Path, attempt: int) -> None:
    """Log that an attempt is over of which its engine has said nothing."""
    if attempt and not (folder / f"claim.{attempt}.ended").exists():
        log.warning("attempt_lost", id=folder.name, attempt=attempt)
