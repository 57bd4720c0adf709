"""The port behind which jobs live, in the words of the domain. `VolumeStore` is the default implementation.

A job's life, and who calls what:

    img-rest    begin() → Part.write(), … → Submission.commit()       the job exists from here on
    img-engine  pending() → claim() → Claim.heartbeat(), …
                    → Claim.publish()     done
                    → Claim.fail()        failed: the picture's fault, at once
                    → Claim.abandon()     this attempt is spent; another may start
                    → Claim.release()     nobody's fault; this attempt is not counted
    img-rest    status(), open_result(), cancel()
    img-engine  upkeep()                                                    expires, repairs, clears

What every implementation promises:

1. `commit` returns only when the job will survive a power cut.
2. A job gets exactly one outcome. The first stands, and any later one is dropped.
3. Of two that claim a job at the same moment one wins. A claim that is not touched for a lease is dead.
4. Every step may be repeated, by anyone, at any time, without harm; a process may die between any two.
5. Errors of the storage are `StoreError`s, and never count against a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from img_contract.job.formats import Format
from img_contract.job.job import Job
from img_contract.job.outcome import Facts, Failure, JobStatus, Output, ResultFile, ResultWarning
from img_contract.job.resize import Resize
from img_contract.volume.idempotency import Key


@dataclass(frozen=True)
class Capacity:
    """How much room there is for further jobs."""

    free_bytes: int
    pending: int
    """Jobs that have not ended."""


class Part(Protocol):
    """One file of an upload, on its way in."""

    @property
    def received(self) -> int:
        """Bytes written so far."""

    def write(self, chunk: bytes) -> None:
        """Append to the file. Raises StoreError."""


class Submission(AbstractContextManager["Submission"], Protocol):
    """An upload on its way in. Leaving the context without `commit` leaves nothing behind."""

    @property
    def picture(self) -> Part:
        """The picture that is to be resized."""

    def watermark(self) -> Part:
        """The picture that is to be put on it: with this call there is one. Raises StoreError."""

    @property
    def repeated(self) -> bool:
        """Whether `commit` gave the job of an earlier submission."""

    def commit(
        self,
        *,
        filename: str | None,
        resize: Resize,
        accept: tuple[Format, ...] = (),
        owner: str | None = None,
    ) -> Job:
        """Make it a job, durably; or give the job that was made of the same under the same key.

        Raises ValueError if a file's first bytes are no picture's; KeyReused, StoreError.
        """


class Claim(Protocol):
    """The right to work on a job, held by one engine for one attempt."""

    @property
    def job(self) -> Job:
        """The job that is claimed."""

    @property
    def attempt(self) -> int:
        """Which attempt this is; 1 is the first."""

    @property
    def source(self) -> Path:
        """The upload, to be read only."""

    @property
    def watermark(self) -> Path:
        """The watermark, if the job has one; to be read only."""

    @property
    def workspace(self) -> Path:
        """A folder for results that are being written. It exists."""

    def heartbeat(self) -> bool:
        """Say that the holder lives. False: the claim is void (job ended, or another engine took over)."""

    def publish(self, rendered: Sequence[ResultFile], facts: Facts, warnings: tuple[ResultWarning, ...]) -> bool:
        """Make the results the job's, and the job done. False: another outcome stands. Raises StoreError."""

    def fail(self, failure: Failure, facts: Facts | None = None) -> bool:
        """End the job as failed. False: another outcome stands. Raises StoreError."""

    def abandon(self, reason: str) -> None:
        """Give up this attempt, so that another may start at once; the last one's reason is the job's."""

    def release(self) -> None:
        """Undo the claim: the attempt is not counted."""


class JobStore(Protocol):
    """Where jobs live."""

    def begin(self, key: Key | None = None) -> Submission:
        """Start receiving an upload, under a key if it may be sent again. Raises SubmissionUnderWay, StoreError."""

    def status(self, job_id: str) -> JobStatus:
        """Where the job is in its life. Raises UnknownJob, JobDeleted, StoreError."""

    def owner(self, job_id: str) -> str | None:
        """Who sent the job, also of one that was deleted; None if nobody is named. Raises UnknownJob, StoreError."""

    def ended(self, job_id: str) -> bool:
        """Whether the job has ended or is gone; cheap enough to be asked every few milliseconds."""

    def open_result(self, job_id: str, name: str | None = None) -> tuple[Path, Output, JobStatus]:
        """A result of a job that is done: the first one, or the one of this name.

        Raises UnknownJob, UnknownResult, ResultGone, JobDeleted, JobNotDone, StoreError.
        """

    def cancel(self, job_id: str) -> None:
        """Cancel a job that has not ended, delete one that has. Repeatable. Raises UnknownJob, StoreError."""

    def pending(self) -> list[str]:
        """Ids of the jobs that could be claimed now, oldest first (the oldest thousand at most)."""

    def claim(self, job_id: str, engine: str) -> Claim | None:
        """Claim a job for an engine. None if it cannot be claimed: ended, unknown, or claimed by a live engine."""

    def upkeep(self) -> None:
        """One bounded portion of cleaning: expired jobs, broken submissions, lost markers. Call it every second."""

    def announce(self, engine: str) -> None:
        """Say that this engine lives. Raises StoreError."""

    def withdraw(self, engine: str) -> None:
        """Say that this engine has stopped."""

    def engines(self) -> list[str]:
        """Prove that the store takes writes, and name the engines that are alive. Raises StoreError."""

    def capacity(self) -> Capacity:
        """How much room there is. Raises StoreError."""
