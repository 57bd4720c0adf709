"""The client's side of the cluster: what img-rest asks. A status is derived from the objects that are there."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from img_contract.errors import JobDeleted, ResultGone, UnknownJob
from img_contract.job.job import now
from img_contract.job.outcome import Outcome, State
from img_contract.job.query import JobList, JobQuery
from img_contract.job.stats import Stats
from img_contract.job.status import JobStatus
from img_contract.ports import Capacity, IdempotencyKey, StoredResult
from img_contract.results import find_output
from img_contract.waiting import position_of

from img_cluster.bucket import PAGE
from img_cluster.deliveries import Deliveries, Notices
from img_cluster.endings import EndWatch
from img_cluster.engines import Engines
from img_cluster.idempotency import IdempotencyKeys
from img_cluster.listing import Listing
from img_cluster.objects import PENDING, JobsStore
from img_cluster.recent_totals import IndexTotals
from img_cluster.submission import ClusterSubmission
from img_cluster.waiting import WaitingJobs

_LINK_SECONDS: Final = 60.0

_FILES: Final = ("source", "watermark")
_BUFFER: Final = 256 * 1024


class ClusterJobs:
    """Jobs in an object store; see `ports.Jobs`."""

    def __init__(
        self,
        store: JobsStore,
        deliveries: Deliveries,
        notices: Notices,
        retention_seconds: float = 24 * 3600.0,
        *,
        redirect: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endings = EndWatch(store)
        """Where notices of ended jobs go."""
        self._store = store
        self._deliveries = deliveries
        self._notices = notices
        self._retention = timedelta(seconds=retention_seconds)
        self._redirect = redirect
        self._keys = IdempotencyKeys(store)
        self._engines = Engines(store.bucket)
        self._waiting = WaitingJobs(store, clock)
        self._listing = Listing(store.bucket, self._waiting, self.status)
        self._totals = IndexTotals(store.bucket, clock)

    def begin(self, key: IdempotencyKey | None = None) -> ClusterSubmission:
        return ClusterSubmission(self._store, self._keys, self._deliveries, key)

    def status(self, job_id: str) -> JobStatus:
        found = self._store.look(job_id)
        if not found.exists:
            raise UnknownJob(job_id)
        job = self._store.read_what_is_sound(job_id)
        if "deleted" in found.names:
            raise JobDeleted(job_id, job.owner if job else None)
        outcome = self._store.read_outcome(job_id, found)
        if found.ended and outcome is None:  # it expired between the two
            raise UnknownJob(job_id)
        if outcome:
            state, attempt, started = State(outcome.state), outcome.attempt, outcome.started_at
            kept_from = outcome.finished_at
        else:
            attempt = found.attempts
            holder = self._store.read_claim(job_id, attempt)
            state, started = State.PROCESSING if attempt else State.QUEUED, holder.started_at if holder else None
            kept_from = datetime.fromtimestamp(found.names["job.json"].modified, UTC)
        position = position_of(job_id, self._waiting.now) if state is State.QUEUED else None
        return JobStatus(job_id, job, state, attempt, started, kept_from + self._retention, outcome, position)

    def wait_ended(self, job_id: str, seconds: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        return self.endings.wait(job_id, seconds, given_up)

    def open_result(self, status: JobStatus, name: str | None = None) -> StoredResult:
        output = find_output(status, name)
        key = f"{self._store.folder(status.id)}/result/{output.file}"
        file = self._store.bucket.open(key)
        if file is None or file.size != output.bytes:
            raise ResultGone(f"expected a result of {output.bytes} bytes, found {file.size if file else 'none'}")
        link = self._store.bucket.link(key, _LINK_SECONDS) if self._redirect else None
        return StoredResult(output, io.BufferedReader(file, _BUFFER), link)

    def cancel(self, job_id: str) -> bool:
        found = self._store.look(job_id)
        if not found.exists:
            raise UnknownJob(job_id)
        job = self._store.read_what_is_sound(job_id)
        folder, attempt = self._store.folder(job_id), found.attempts
        holder = self._store.read_claim(job_id, attempt)
        started = holder.started_at if holder else None
        cancelled = Outcome(state=State.CANCELLED, attempt=attempt, started_at=started, finished_at=now())
        ended = not found.ended and self._store.end(job_id, job, cancelled)
        if ended:
            self._notices.ended(job_id)
        else:
            found = self._store.look(job_id)
            outcome = self._store.read_outcome(job_id, found)
            if outcome and outcome.state is not State.CANCELLED:
                self._store.bucket.put(f"{folder}/deleted", b"")
        files = [name for name in found.names if name in _FILES or name.startswith("result/")]
        self._store.bucket.delete([f"{folder}/{name}" for name in files])
        return ended

    def engines(self) -> list[str]:
        return self._engines.alive()

    def too_new(self) -> int:
        return self._engines.too_new()

    def engine_metrics(self) -> dict[str, str]:
        return self._engines.metrics()

    def capacity(self) -> Capacity:
        pending = len(self._store.bucket.names(PENDING))
        if pending >= PAGE:  # one request lists no more, and from here on the broker's count is close enough
            pending = max(pending, self._deliveries.waiting())
        return Capacity(sys.maxsize, pending)  # a store tells of no limit

    def stats(self) -> Stats:
        waiting = self._waiting.now()
        return waiting.stats(self._engines.marks(), None, self._totals.hour())

    def list(self, query: JobQuery, limit: int, cursor: str | None = None) -> JobList:
        return self._listing.page(query, limit, cursor)
