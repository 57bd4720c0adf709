"""The engine's side of the cluster: what a message of the broker leads to, and which attempt it starts.

The broker decides which job is next, and holds the lease: a message that is not acknowledged is delivered again when
the connection of its engine is gone. The store decides everything else. Attempts are counted by `claim.N`, never by the
broker, whose count means something else in each of its versions.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from img_contract.errors import DamagedRecord, JobTooNew, StoreError, UnknownJob
from img_contract.failpoints import failpoint
from img_contract.job.job import Job, now
from img_contract.job.outcome import Failure, FailureCode, Outcome, State, attempts_exhausted

from img_cluster.claims import ClusterClaim
from img_cluster.cleanup import Cleanup
from img_cluster.deliveries import Deliveries, Delivery, Notices, Settle
from img_cluster.engines import Engines
from img_cluster.housekeeping import Housekeeping
from img_cluster.objects import JobObjects, JobsStore
from img_cluster.reconciliation import Reconciliation
from img_cluster.unanswered import UnansweredClaims

RETRY_SECONDS: Final = 5.0
"""A job that is tried again waits this long for an engine that has nothing else to do; then it is its turn."""

_RETRY_FAULT_SECONDS: Final = 30.0
"""After a fault, the queue of those is left alone for so long."""

log = structlog.get_logger(__name__)


class Retries(Protocol):
    """The messages of jobs that cost an attempt: asked for one by one. May raise StoreError."""

    def get(self) -> tuple[Delivery, Settle] | None:
        """Return the oldest; None if there is none."""


class ClusterWork:
    """See `ports.Work`. A consumer of the broker calls `deliver`, from any number of threads."""

    def __init__(
        self,
        store: JobsStore,
        deliveries: Deliveries,
        notices: Notices,
        retries: Retries,
        engine: str,
        *,
        attempts: int = 3,
        longest_attempt_seconds: float = 90.0,
        lost_seconds: float = 120.0,
        retention_seconds: float = 24 * 3600.0,
        version: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_heartbeat: Callable[[Delivery], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._deliveries = deliveries
        self._notices = notices
        self._retries = retries
        self._engine = engine
        self._version = version
        self._attempts = attempts
        self._longest = longest_attempt_seconds
        self._clock = clock
        self._on_heartbeat = on_heartbeat
        self._engines = Engines(store.bucket)
        self._unanswered = UnansweredClaims(engine)
        self._claimed: queue.SimpleQueue[ClusterClaim] = queue.SimpleQueue()
        """Claims that nobody has taken up yet."""
        self._changed = threading.Condition()
        self._held: dict[str, bool] = {}
        """Jobs whose claims are not closed yet, and whether each is tried again."""
        self._too_new: set[str] = set()
        """Jobs that were left for a newer engine."""
        self._retried_at = self._retry_from = float("-inf")
        self._stopping = threading.Event()
        self._reconciliation = Reconciliation(store, deliveries, lost_seconds, longest_attempt_seconds, self._is_mine)
        cleanup = Cleanup(store, retention_seconds)
        self._housekeeping = Housekeeping(store.bucket, cleanup, self._reconciliation, engine, lost_seconds)

    # ports.Work

    def next(self, seconds: float) -> ClusterClaim | None:
        retry_due = self._clock() - self._retried_at >= RETRY_SECONDS
        claim = (self._retry() if retry_due else None) or self._handed_over(0.0)
        return claim or self._retry() or self._handed_over(seconds)

    def stop_taking(self) -> None:
        self._stopping.set()
        while claim := self._handed_over(0.0):
            self._give_back(claim)

    def maintain(self) -> None:
        self._housekeeping.run_batch()

    def announce(self) -> None:
        self._engines.announce(self._engine, len(self._too_new), self._version)

    def publish_metrics(self, text: str) -> None:
        self._engines.publish_metrics(self._engine, text)

    def withdraw(self) -> None:
        self._engines.withdraw(self._engine)

    def close(self) -> None:
        self.stop_taking()

    # For the consumer of the broker

    def deliver(self, delivery: Delivery, settle: Settle) -> None:
        """Claim the job of a message and hand the claim over to `next`; settle the message if there is no claim.

        The message is settled when the claim is closed. Raises StoreError, and then has not settled it.
        """
        if self._stopping.is_set():
            settle(False)  # noqa: FBT003  its meaning is that of Settle
            return
        claim = self.claim(delivery, settle)
        if claim is None:
            return
        self._claimed.put(claim)
        if self._stopping.is_set():  # `next` may have been called for the last time
            self.stop_taking()

    def wait_until_free(self, job_id: str) -> None:
        """Wait while this engine itself works on the job: its connection was lost, and the message came again."""
        with self._changed:
            self._changed.wait_for(lambda: job_id not in self._held)

    def holds(self, job_id: str) -> bool:
        """Return whether this engine works on the job."""
        with self._changed:
            return job_id in self._held

    def claim(self, delivery: Delivery, settle: Settle) -> ClusterClaim | None:
        """Start the attempt that a message leads to. None if there is nothing to do, and the message is settled."""
        job_id = delivery.job_id
        failpoint("job.received")
        try:
            found = self._unanswered.left_out(job_id, self._store.look(job_id))
        except UnknownJob:  # somebody else writes to this queue
            found = JobObjects({})
        claim = None
        if found.ended:  # an engine died between the outcome and its acknowledgement, or the client cancelled the job
            self._reconciliation.unmark(job_id)
        elif found.exists and self._may_start(delivery, found):
            try:
                claim = self._take(delivery, settle, found)
            except JobTooNew as newer:
                if job_id not in self._too_new:
                    log.warning("job_too_new", id=job_id, reason=str(newer))
                self._too_new.add(job_id)
            except DamagedRecord as error:
                detail = f"the job is damaged: {error}"
                self._give_up(job_id, found, None, Failure(code=FailureCode.JOB_DAMAGED, detail=detail))
            except UnknownJob:
                pass  # it was withdrawn this moment
        if claim is None:
            settle(True)  # noqa: FBT003  its meaning is that of Settle
        return claim

    def _may_start(self, delivery: Delivery, found: JobObjects) -> bool:
        """Return whether the last attempt is over, so that this message starts the next one."""
        attempt = found.attempts
        if attempt == 0 or f"claim.{attempt}.ended" in found.names:
            return True
        holder = self._store.read_claim(delivery.job_id, attempt)
        if delivery.redelivered and (holder is None or holder.message == delivery.message):
            return True  # its holder has died, or lost the connection that was its lease
        # Another message of this job is in the hands of the holder. If that died, its message comes again.
        return self._store.bucket.now() - found.names[f"claim.{attempt}"].modified > self._longest

    def _take(self, delivery: Delivery, settle: Settle, found: JobObjects) -> ClusterClaim | None:
        job_id, attempt = delivery.job_id, found.attempts
        job = self._store.read_job(job_id)
        if attempt >= self._attempts:
            reason = self._store.bucket.read(f"{self._store.folder(job_id)}/claim.{attempt}.ended")
            said = " ".join(reason.decode(errors="replace").split()) if reason else None
            self._give_up(job_id, found, job, attempts_exhausted(attempt, said))
            return None
        name = f"{self._store.folder(job_id)}/claim.{attempt + 1}"
        with self._changed:
            if job_id in self._held:
                return None
            self._held[job_id] = f"claim.{attempt}.ended" in found.names
        claim = None
        try:
            holder = self._unanswered.holder(job_id, attempt + 1, delivery.message)
            created = self._store.bucket.create(name, holder.model_dump_json().encode())
            self._unanswered.answered(job_id)
            if created:
                failpoint("claim.taken")
                _log_lost(job_id, found)
                claim = ClusterClaim(
                    self._store,
                    self._deliveries,
                    self._notices,
                    job,
                    attempt + 1,
                    holder.started_at,
                    delivery,
                    settle,
                    self._on_heartbeat,
                    self._closed,
                )
        finally:
            if claim is None:
                self._closed(job_id)
        return claim

    def _give_up(self, job_id: str, found: JobObjects, job: Job | None, failure: Failure) -> None:
        attempt = found.attempts
        holder = self._store.read_claim(job_id, attempt)
        started = holder.started_at if holder else None
        outcome = Outcome(state=State.FAILED, attempt=attempt, started_at=started, finished_at=now(), error=failure)
        recorded = self._store.end(job_id, job, outcome)
        if recorded:
            _log_lost(job_id, found)
        log.warning("job_failed", id=job_id, code=failure.code, reason=failure.detail, recorded=recorded)
        self._notices.ended(job_id)

    def _handed_over(self, seconds: float) -> ClusterClaim | None:
        try:
            return self._claimed.get(timeout=seconds) if seconds > 0 else self._claimed.get_nowait()
        except queue.Empty:
            return None

    def _retry(self) -> ClusterClaim | None:
        """Claim a job that cost an attempt: one such job at a time, as it may cost its neighbours theirs."""
        with self._changed:
            if self._stopping.is_set() or any(self._held.values()) or self._clock() < self._retry_from:
                return None
        self._retried_at = self._clock()
        while found := self._next_retry():
            delivery, settle = found
            try:
                claim = self.claim(delivery, settle)
            except StoreError:
                settle(False)  # noqa: FBT003  its meaning is that of Settle
                raise
            if claim:
                return claim
        return None

    def _next_retry(self) -> tuple[Delivery, Settle] | None:
        try:
            return self._retries.get()
        except StoreError as error:  # the other jobs need not wait for that
            log.error("store_fault", reason=str(error))
            self._retry_from = self._clock() + _RETRY_FAULT_SECONDS
            return None

    def _give_back(self, claim: ClusterClaim) -> None:
        try:
            claim.release()
        except StoreError as error:
            log.error("store_fault", id=claim.job.id, reason=str(error))
        claim.close()

    def _closed(self, job_id: str) -> None:
        with self._changed:
            self._held.pop(job_id, None)
            self._changed.notify_all()

    def _is_mine(self, job_id: str) -> bool:
        return job_id in self._too_new or self.holds(job_id)


def _log_lost(job_id: str, found: JobObjects) -> None:
    """Log that the last attempt is over, and its engine has said nothing of it."""
    if found.attempts and f"claim.{found.attempts}.ended" not in found.names:
        log.warning("attempt_lost", id=job_id, attempt=found.attempts)
