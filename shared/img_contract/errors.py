"""Every error that the contract raises on purpose.

ContractError
├── ConfigError          the configuration has faults, all of them listed
├── UnknownJob           no job of that id is on the volume
├── UnknownResult        the job is done, and has no result of that name
├── ResultGone           the job is done, and its result's file is missing or damaged
├── JobDeleted           the job's owner deleted it
├── DamagedRecord        a file on the volume is not the record that it should be
├── JobTooNew            a job was written by a newer version, and is left for one that understands it
├── UnknownCursor        a list of jobs was to go on at what is no cursor of it
├── SubmissionUnderWay   another request with the same Idempotency-Key is being received
├── KeyReused            the Idempotency-Key came with something else before
├── JobNotDone           a result was asked of a job that has none (carries the status)
└── StoreError           the volume, not the job, is at fault
    ├── StoreFull        no space or quota left
    └── StoreUnavailable any other failure to read or write
"""

from __future__ import annotations

from img_contract.job.newer import JobOutline
from img_contract.job.status import JobStatus


class ContractError(Exception):
    """Root of the contract's errors."""


class ConfigError(ContractError):
    """The configuration has faults; `faults` has one line for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("the configuration has faults:\n" + "\n".join(f"  - {fault}" for fault in faults))
        self.faults = faults


class UnknownJob(ContractError):
    """No job of this id: it never was, or it has expired."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id[:64]!r}")
        self.job_id = job_id


class UnknownResult(ContractError):
    """The job is done, and has no result of this name."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"expected the name of a result of this job: {', '.join(names)}; found another")


class JobDeleted(ContractError):
    """The job ended, and then its owner deleted it."""

    def __init__(self, job_id: str, owner: str | None) -> None:
        super().__init__(f"job {job_id} was deleted")
        self.job_id = job_id
        self.owner = owner


class ResultGone(ContractError):
    """The job is done, and its result's file is missing, or is not the file that the outcome tells of."""


class DamagedRecord(ContractError):
    """A file on the volume is not the record that it should be: unreadable, another job's, or no regular file."""


class JobTooNew(ContractError):
    """A job was written by a newer version; `outline` is what is understood of it, if that is enough for a status."""

    def __init__(self, reason: str, outline: JobOutline | None) -> None:
        super().__init__(reason)
        self.outline = outline


class UnknownCursor(ContractError):
    """A list of jobs was to go on at what is no cursor of it."""

    def __init__(self) -> None:
        super().__init__("expected what `next` was in a page with the same status, found something else")


class SubmissionUnderWay(ContractError):
    """Another request with the same Idempotency-Key is being received."""

    def __init__(self) -> None:
        super().__init__("a request with this Idempotency-Key is under way; send it again in a while")


class KeyReused(ContractError):
    """The Idempotency-Key came before, with another picture or other parameters."""

    def __init__(self) -> None:
        super().__init__("expected the picture and the parameters that came with this Idempotency-Key before")


class JobNotDone(ContractError):
    """A result was asked of a job that is queued, processing, failed or cancelled."""

    def __init__(self, status: JobStatus) -> None:
        super().__init__(f"job {status.id} is {status.state}")
        self.status = status


class StoreError(ContractError):
    """The volume is at fault. What was being done was not done, and may be tried again."""


class StoreFull(StoreError):
    """The volume has no space, inodes or quota left."""


class StoreUnavailable(StoreError):
    """The volume cannot be read or written for another reason."""
