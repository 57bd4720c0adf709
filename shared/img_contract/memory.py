"""Jobs in the memory of one process: the backend for tests. See `ports` for what its methods do.

It keeps every promise but the one about power cuts: its jobs last as long as the process.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from img_contract.errors import JobDeleted, KeyReused, ResultGone, UnknownCursor, UnknownJob
from img_contract.history import Ending
from img_contract.job.formats import SIGNATURE_BYTES, Format
from img_contract.job.job import Job, content_digest, describe_source, new_job_id, now
from img_contract.job.outcome import (
    Facts,
    Failure,
    Outcome,
    Output,
    ResultFile,
    ResultWarning,
    State,
    attempts_exhausted,
)
from img_contract.job.query import JobList, JobQuery
from img_contract.job.resize import Resize
from img_contract.job.stats import EngineMark, Stats
from img_contract.job.status import JobStatus
from img_contract.ports import METRICS_BYTES, Capacity, IdempotencyKey, LocalFiles, StoredResult
from img_contract.receiving import HeldKeys
from img_contract.results import find_output
from img_contract.totals import RecentTotals

_LOOK_SECONDS: Final = 0.05
"""A waiting call looks at the clock and at `given_up` this often."""


@dataclass
class _Record:
    """One job and all that belongs to it."""

    job: Job
    source: bytes
    watermark: bytes
    number: int = 0
    """How many jobs were submitted before it."""
    end_number: int = 0
    """How many jobs had ended before it."""
    attempts: int = 0
    started_at: datetime | None = None
    lease_until: float = 0.0
    reason: str | None = None
    """Why the last attempt was abandoned."""
    spent: bool = False
    """True if the last attempt was abandoned, so that the next may start."""
    outcome: Outcome | None = None
    ended_at: float = 0.0
    results: dict[str, bytes] = field(default_factory=dict)
    deleted: bool = False


class MemoryFile:
    """See `ports.UploadedFile`."""

    def __init__(self) -> None:
        self.content = b""

    @property
    def received(self) -> int:
        return len(self.content)

    def write(self, chunk: bytes) -> None:
        self.content += chunk


class MemorySubmission:
    """See `ports.Submission`."""

    def __init__(self, store: MemoryStore, key: IdempotencyKey | None) -> None:
        self.picture = MemoryFile()
        self.repeated = False
        self._store = store
        self._key = key
        self._watermark: MemoryFile | None = None
        self._cleaning = ExitStack()

    def __enter__(self) -> Self:
        if self._key:
            self._cleaning.enter_context(self._store.under_way.held(self._key))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleaning.close()

    def watermark(self) -> MemoryFile:
        self._watermark = self._watermark or MemoryFile()
        return self._watermark

    def commit(
        self,
        *,
        filename: str | None,
        resize: Resize,
        accept: tuple[Format, ...] = (),
        owner: str | None = None,
    ) -> Job:
        files = [file for file in (self.picture, self._watermark) if file]
        source, *second = (describe_source(file.content[:SIGNATURE_BYTES], file.received, None) for file in files)
        job = Job(
            version=1,
            id=new_job_id(),
            submitted_at=now(),
            source=source.model_copy(update={"filename": filename}),
            watermark=second[0] if second else None,
            accept=accept,
            owner=owner,
            resize=resize,
        )
        content = content_digest(job, [hashlib.sha256(file.content).hexdigest() for file in files])
        record = _Record(job, self.picture.content, self._watermark.content if self._watermark else b"")
        committed = self._store.add(record, self._key, content)
        self.repeated = committed is not job
        return committed


class MemoryStore:
    """Implements `ports.Jobs`; `work` gives each engine its `ports.Work`."""

    def __init__(
        self,
        *,
        lease_seconds: float = 30.0,
        attempts: int = 3,
        retention_seconds: float = 24 * 3600.0,
        free_bytes: int = 2**40,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lease_seconds = lease_seconds
        self.attempts = attempts
        self.retention_seconds = retention_seconds
        self.clock = clock
        self.changed = threading.Condition(threading.RLock())
        self.records: dict[str, _Record] = {}
        self.alive: dict[str, str | None] = {}
        """The version of each engine that is alive."""
        self._numbers = itertools.count()
        self.metrics: dict[str, str] = {}
        self._free_bytes = free_bytes
        self._keys: dict[IdempotencyKey, tuple[str, str]] = {}
        self.under_way = HeldKeys()

    def work(self, engine: str, version: str | None = None) -> MemoryWork:
        """Return the engine's side of this store."""
        return MemoryWork(self, engine, version)

    # ports.Jobs

    def begin(self, key: IdempotencyKey | None = None) -> MemorySubmission:
        return MemorySubmission(self, key)

    def status(self, job_id: str) -> JobStatus:
        with self.changed:
            record = self._record(job_id)
            if record.deleted:
                raise JobDeleted(job_id, record.job.owner)
            outcome = record.outcome
            state = State(outcome.state) if outcome else State.PROCESSING if record.attempts else State.QUEUED
            kept_from = outcome.finished_at if outcome else record.job.submitted_at
            expires_at = kept_from + timedelta(seconds=self.retention_seconds)
            attempt = outcome.attempt if outcome else record.attempts
            position = self._queued().index(record) if state is State.QUEUED else None
            return JobStatus(job_id, record.job, state, attempt, record.started_at, expires_at, outcome, position)

    def wait_ended(self, job_id: str, seconds: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        until = time.monotonic() + seconds
        with self.changed:
            while True:
                record = self.records.get(job_id)
                if record is None or record.outcome:
                    return True
                left = until - time.monotonic()
                if left <= 0 or given_up():
                    return False
                self.changed.wait(min(left, _LOOK_SECONDS))

    def open_result(self, status: JobStatus, name: str | None = None) -> StoredResult:
        output = find_output(status, name)
        with self.changed:
            record = self.records.get(status.id)
            if record is None or output.file not in record.results:
                raise ResultGone(f"expected a result of {output.bytes} bytes, found none")
            return StoredResult(output, io.BytesIO(record.results[output.file]))

    def cancel(self, job_id: str) -> bool:
        with self.changed:
            record = self._record(job_id)
            cancelled = self.end(record, State.CANCELLED, record.attempts)
            if not cancelled and record.outcome:
                record.deleted = record.outcome.state is not State.CANCELLED
            record.source = record.watermark = b""
            record.results.clear()
            return cancelled

    def engines(self) -> list[str]:
        with self.changed:
            return sorted(self.alive)

    def too_new(self) -> int:
        return 0

    def capacity(self) -> Capacity:
        with self.changed:
            return Capacity(self._free_bytes, sum(record.outcome is None for record in self.records.values()))

    def engine_metrics(self) -> dict[str, str]:
        with self.changed:
            return {engine: text for engine, text in self.metrics.items() if len(text.encode()) <= METRICS_BYTES}

    def stats(self) -> Stats:
        with self.changed:
            queued, present = self._queued(), now()
            totals = RecentTotals()
            for record in self.records.values():
                if record.outcome:
                    totals.add(Ending.of(record.job.id, record.job, record.outcome))
            pending = sum(record.outcome is None for record in self.records.values())
            return Stats(
                queued=len(queued),
                processing=pending - len(queued),
                oldest_seconds=(present - queued[0].job.submitted_at).total_seconds() if queued else None,
                engines=tuple(EngineMark(name, version) for name, version in sorted(self.alive.items())),
                free_bytes=self._free_bytes,
                hour=totals.hour(present.timestamp()),
            )

    def list(self, query: JobQuery, limit: int, cursor: str | None = None) -> JobList:
        if cursor is not None and not (cursor.isascii() and cursor.isdecimal()):
            raise UnknownCursor
        found: list[tuple[int, JobStatus]] = []
        with self.changed:
            for record in self.records.values():
                number = record.end_number if query.ended else record.number
                if not record.deleted and (cursor is None or number < int(cursor)):
                    found.append((number, self.status(record.job.id)))
        found = sorted((one for one in found if query.wants(one[1])), key=itemgetter(0), reverse=True)
        page = found[:limit]
        return JobList(tuple(status for _, status in page), str(page[-1][0]) if len(found) > limit else None)

    # For its submissions and claims

    def add(self, record: _Record, key: IdempotencyKey | None, content: str) -> Job:
        """Add a job, or return the one that the key has made already. Raises KeyReused."""
        with self.changed:
            if key and key in self._keys:
                earlier, its_content = self._keys[key]
                if earlier in self.records:
                    if its_content != content:
                        raise KeyReused
                    return self.records[earlier].job
            record.number = next(self._numbers)
            self.records[record.job.id] = record
            if key:
                self._keys[key] = (record.job.id, content)
            self.changed.notify_all()
            return record.job

    def end(
        self, record: _Record, state: Literal[State.DONE, State.FAILED, State.CANCELLED], attempt: int, **details: Any
    ) -> bool:
        """Give a job its outcome; False if it has one, or is gone. `details` are the outcome's other fields."""
        with self.changed:
            if record.outcome or record.job.id not in self.records:
                return False
            started_at = record.started_at
            record.outcome = Outcome(state=state, attempt=attempt, started_at=started_at, finished_at=now(), **details)
            record.ended_at = self.clock()
            record.end_number = next(self._numbers)
            self.changed.notify_all()
            return True

    def expire(self, job_id: str) -> None:
        """Remove a job and all that belongs to it."""
        with self.changed:
            del self.records[job_id]

    def _queued(self) -> Sequence[_Record]:
        """Return the jobs that nobody has begun, in the order in which they are taken."""
        return [record for record in self.records.values() if not record.outcome and not record.attempts]

    def _record(self, job_id: str) -> _Record:
        if job_id not in self.records:
            raise UnknownJob(job_id)
        return self.records[job_id]


class MemoryWork:
    """See `ports.Work`."""

    def __init__(self, store: MemoryStore, engine: str, version: str | None) -> None:
        self._store = store
        self._engine = engine
        self._version = version
        self.held: set[str] = set()
        self._retrying: str | None = None
        """The job that is tried again at present, after it cost an attempt."""

    def next(self, seconds: float) -> MemoryClaim | None:
        until = time.monotonic() + seconds
        with self._store.changed:
            while True:
                claim = self._claim()
                left = until - time.monotonic()
                if claim or left <= 0:
                    return claim
                self._store.changed.wait(min(left, _LOOK_SECONDS))

    def stop_taking(self) -> None:
        return None  # nothing is fetched ahead

    def maintain(self) -> None:
        store = self._store
        with store.changed:
            oldest = store.clock() - store.retention_seconds
            for record in list(store.records.values()):
                if record.outcome and record.ended_at < oldest:
                    store.expire(record.job.id)

    def announce(self) -> None:
        with self._store.changed:
            self._store.alive[self._engine] = self._version

    def publish_metrics(self, text: str) -> None:
        with self._store.changed:
            self._store.metrics[self._engine] = text

    def withdraw(self) -> None:
        with self._store.changed:
            self._store.alive.pop(self._engine, None)
            self._store.metrics.pop(self._engine, None)

    def close(self) -> None:
        return None

    def _claim(self) -> MemoryClaim | None:
        """Claim the oldest job; one whose attempt was abandoned behind the others, and one such job at a time."""
        store = self._store
        free = [record for record in store.records.values() if self._claimable(record)]
        for record in sorted(free, key=lambda record: record.spent):
            if record.spent and self._retrying in self.held:
                return None
            if record.attempts >= store.attempts:
                store.end(
                    record, State.FAILED, record.attempts, error=attempts_exhausted(record.attempts, record.reason)
                )
                continue
            if record.spent:
                self._retrying = record.job.id
            record.attempts += 1
            record.started_at = now()
            record.spent = False
            record.reason = None
            record.lease_until = store.clock() + store.lease_seconds
            self.held.add(record.job.id)
            return MemoryClaim(store, self, record)
        return None

    def _claimable(self, record: _Record) -> bool:
        if record.outcome or record.job.id in self.held:
            return False
        return record.attempts == 0 or record.spent or record.lease_until <= self._store.clock()


class MemoryClaim:
    """See `ports.Claim`."""

    def __init__(self, store: MemoryStore, work: MemoryWork, record: _Record) -> None:
        self.job = record.job
        self.attempt = record.attempts
        self._store = store
        self._work = work
        self._record = record

    @contextmanager
    def files(self) -> Iterator[LocalFiles]:
        with tempfile.TemporaryDirectory(prefix="img-") as name:
            folder = Path(name)
            files = LocalFiles(folder / "source", folder / "watermark", folder / "result")
            files.source.write_bytes(self._record.source)
            files.watermark.write_bytes(self._record.watermark)
            yield files

    def heartbeat(self) -> bool:
        with self._store.changed:
            if not self._current():
                return False
            self._record.lease_until = self._store.clock() + self._store.lease_seconds
            return True

    def publish(self, results: Sequence[ResultFile], facts: Facts, warnings: tuple[ResultWarning, ...]) -> bool:
        outputs = tuple(Output.of(result, f"{self.attempt}-{result.name}") for result in results)
        contents = {output.file: result.path.read_bytes() for result, output in zip(results, outputs, strict=True)}
        with self._store.changed:
            recorded = self._end(State.DONE, facts=facts, outputs=outputs, warnings=warnings)
            if recorded:
                self._record.results = contents
            return recorded

    def fail(self, failure: Failure, facts: Facts | None = None) -> bool:
        return self._end(State.FAILED, error=failure, facts=facts)

    def abandon(self, reason: str) -> None:
        with self._store.changed:
            if self._current():
                self._record.spent, self._record.reason = True, reason
                self._store.changed.notify_all()

    def release(self) -> None:
        with self._store.changed:
            if self._current():
                self._record.attempts -= 1
                self._record.spent = self._record.attempts > 0
                self._store.changed.notify_all()

    def close(self) -> None:
        with self._store.changed:
            self._work.held.discard(self.job.id)

    def _current(self) -> bool:
        alive = self._store.records.get(self.job.id) is self._record and self._record.outcome is None
        return alive and self._record.attempts == self.attempt

    def _end(self, state: Literal[State.DONE, State.FAILED], **details: Any) -> bool:
        return self._store.end(self._record, state, self.attempt, **details)
