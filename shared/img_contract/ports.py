"""The ports between the two services and what keeps their jobs, in the words of the domain.

A job's life, and who calls what:

    img-rest    Jobs.begin() → Submission.picture.write(), … → commit()     the job exists, and engines are notified
                Jobs.status(), wait_ended(), open_result(), cancel(), list(), stats()
    img-engine  Work.next() → Claim.files(), heartbeat(), … and one of
                    publish()     the job is done
                    fail()        the job has failed by the fault of its picture, at once
                    abandon()     this attempt is spent; another may start
                    release()     nobody's fault; this attempt is not counted
                and last, whatever happened, close()

What every backend promises:

1. `commit` returns only when the job will survive a power cut.
2. A job gets exactly one outcome. The first counts, and any later one is dropped.
3. A job has one live claim at most. A claim without a heartbeat for a lease is dead, and the next attempt may start.
4. Every step may be repeated, by anyone, at any time, without harm; a process may die between any two.
5. A job of a newer version is left for an engine that understands it: not claimed, not failed, and logged once.
6. Errors of the storage are `StoreError`s, and never count against a job.

`volume/` is the default backend, `memory.py` the one for tests; one suite of tests runs over both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from img_contract.job.formats import Format
from img_contract.job.job import Job
from img_contract.job.outcome import Facts, Failure, Output, ResultFile, ResultWarning
from img_contract.job.query import JobList, JobQuery
from img_contract.job.resize import Resize
from img_contract.job.stats import Stats
from img_contract.job.status import JobStatus

ENGINE_SILENCE_SECONDS: Final = 30.0
"""An engine that has not announced itself for this long is not counted as alive."""

METRICS_BYTES: Final = 256 * 1024
"""Several times what an engine that has seen every pair of formats publishes."""


@dataclass(frozen=True)
class IdempotencyKey:
    """A client's name for a request that may be sent again."""

    value: str
    owner: str | None = None
    """Name of the API key that it came with: the same text from two clients names two requests."""

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal: a name for a record, whatever the client wrote."""
        return hashlib.sha256(f"{self.owner or ''}\0{self.value}".encode()).hexdigest()


@dataclass(frozen=True)
class Capacity:
    """The room for further jobs."""

    free_bytes: int
    pending: int
    """Jobs that have not ended."""


@dataclass(frozen=True)
class StoredResult:
    """One result of a job, opened for reading. The caller closes the file."""

    output: Output
    file: BinaryIO
    link: str | None = None
    """Where a client may fetch it itself, for a short time, if it is to be sent there."""


class UploadedFile(Protocol):
    """One file of an upload that is being received."""

    @property
    def received(self) -> int:
        """Bytes written so far."""

    def write(self, chunk: bytes) -> None:
        """Append to the file. Raises StoreError."""


class Submission(AbstractContextManager["Submission"], Protocol):
    """An upload that is being received. Leaving the context without `commit` leaves nothing behind."""

    @property
    def picture(self) -> UploadedFile:
        """The picture to resize."""

    def watermark(self) -> UploadedFile:
        """The picture to put on it; calling this declares that there is one. Raises StoreError."""

    @property
    def repeated(self) -> bool:
        """True if `commit` returned the job of an earlier submission."""

    def commit(
        self,
        *,
        filename: str | None,
        resize: Resize,
        accept: tuple[Format, ...] = (),
        owner: str | None = None,
    ) -> Job:
        """Make it a job, durably, and notify the engines; or return the job of an earlier submission under its key.

        Raises ValueError if a file's first bytes are not a picture's; KeyReused, StoreError.
        """


class Jobs(Protocol):
    """The client's side: what img-rest uses. Thread-safe."""

    def begin(self, key: IdempotencyKey | None = None) -> Submission:
        """Start receiving an upload. Entering it raises SubmissionUnderWay if its key is in use; StoreError."""

    def status(self, job_id: str) -> JobStatus:
        """Return all there is to know of a job. Raises UnknownJob, JobDeleted, StoreError."""

    def wait_ended(self, job_id: str, seconds: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the job has ended or is gone, and return whether it has; True also for an unknown one.

        Returns False after so many seconds, or when `given_up`, which is called now and then, returns True.
        Raises StoreError.
        """

    def open_result(self, status: JobStatus, name: str | None = None) -> StoredResult:
        """Open the first result of a job, or the one of that name.

        Raises JobNotDone, UnknownResult, ResultGone, StoreError.
        """

    def cancel(self, job_id: str) -> bool:
        """Cancel a job that has not ended, delete the files of one that has. Return whether this ended it.

        Raises UnknownJob, StoreError.
        """

    def engines(self) -> list[str]:
        """Prove that the store takes writes, and name the engines that are alive. Raises StoreError."""

    def too_new(self) -> int:
        """Return how many jobs every engine has left for a newer one. Raises StoreError."""

    def capacity(self) -> Capacity:
        """Return how much room there is. Raises StoreError."""

    def engine_metrics(self) -> Mapping[str, str]:
        """Return what each engine that is alive has published last, by its name. Raises StoreError."""

    def stats(self) -> Stats:
        """Return how the service does; the cost does not grow with the jobs that have ended. Raises StoreError."""

    def list(self, query: JobQuery, limit: int, cursor: str | None = None) -> JobList:
        """Return a page of at most so many jobs, the newest first, from where the cursor of an earlier page is.

        By submission; where only jobs that ended are asked for, by their end. A page is a bounded amount of work, and
        may have fewer jobs than there are. After a power cut it may lack some. Raises UnknownCursor, StoreError.
        """


@dataclass(frozen=True)
class LocalFiles:
    """The files of one attempt, on this machine's disk."""

    source: Path
    """The upload, to be read only."""
    watermark: Path
    """The second upload, if the job has one; to be read only."""
    target: Path
    """Path of the results, each with its number appended; nobody else uses these names."""


class Claim(Protocol):
    """The right to make one attempt at a job, held by one engine."""

    @property
    def job(self) -> Job:
        """The job."""

    @property
    def attempt(self) -> int:
        """Number of this attempt; 1 is the first."""

    def files(self) -> AbstractContextManager[LocalFiles]:
        """Bring the upload to this machine, and clean up afterwards; publish within it. Raises StoreError."""

    def heartbeat(self) -> bool:
        """Extend the lease. False: the claim is void, since the job has ended or another engine has taken over.

        Raises StoreError.
        """

    def publish(self, results: Sequence[ResultFile], facts: Facts, warnings: tuple[ResultWarning, ...]) -> bool:
        """Make the results the job's, and the job done. False: another outcome was first. Raises StoreError."""

    def fail(self, failure: Failure, facts: Facts | None = None) -> bool:
        """End the job as failed. False: another outcome was first. Raises StoreError."""

    def abandon(self, reason: str) -> None:
        """Spend this attempt. The job is tried again behind the others; the last reason is that of its failure."""

    def release(self) -> None:
        """Undo the claim: the attempt does not count. Raises StoreError."""

    def close(self) -> None:
        """Say that the holder has stopped working on it. Call it last, whatever happened."""


class Work(Protocol):
    """The engine's side: what img-engine uses. `next` and `maintain` are called from one thread."""

    def next(self, seconds: float) -> Claim | None:
        """Return a claim on the next job; None if there is none within so many seconds.

        Order, polling, leases and retries are the backend's. Raises StoreError.
        """

    def stop_taking(self) -> None:
        """Say that `next` will not be called again: what was fetched ahead goes to other engines."""

    def maintain(self) -> None:
        """Do a bounded part of the housekeeping if it is due: expired jobs, broken submissions. Raises StoreError."""

    def announce(self) -> None:
        """Say that this engine is alive. Raises StoreError."""

    def publish_metrics(self, text: str) -> None:
        """Publish what this engine has counted, in place of what it published before. Raises StoreError.

        The text format of Prometheus; a text of more than `METRICS_BYTES` is not read.
        """

    def withdraw(self) -> None:
        """Say that this engine has stopped, and take its metrics away. Raises StoreError."""

    def close(self) -> None:
        """Let go of what it holds open."""
