"""The objects of jobs, named as the files of a volume are:

    jobs/<xx>/<guid>/        xx: the guid's first two characters
        source               the upload; immutable
        watermark            a second upload, if there was one; immutable
        job.json             the message; immutable. With it the job exists, without it there is none
        claim.1, claim.2 …   one per attempt, created exclusively
        claim.1.ended        that attempt was abandoned by its holder, with the reason
        result/<n>-<name>    outputs of attempt n
        outcome.json         created exclusively: done, failed or cancelled, with its facts
        deleted              its owner deleted it after it had ended
    pending/<µs>-<guid>      empty; from submission until the outcome. The time is in the name, so that a listing is
                             sorted by it. It stands in for a message that the broker has lost
    idempotency/<digest>/<n> which job was made under an Idempotency-Key; the highest n counts
    engines/<name>           written by an engine that is alive
    metrics/<name>           what that engine has counted, written again now and then
    recent/<time>!…          empty; a job that was submitted, see `index`
    ended/<time>!…           empty; a job that ended
    turns/<what>-<n>         which engine's turn a piece of housekeeping is

This module knows the objects and their records, and no policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from img_contract.errors import DamagedRecord, JobTooNew, UnknownJob
from img_contract.failpoints import failpoint
from img_contract.job.job import JOB_ID, Job
from img_contract.job.newer import JobOutline
from img_contract.job.outcome import Outcome
from img_contract.records import ClaimRecord, as_json, attempts_in, parse_job, parse_outcome
from pydantic import ValidationError

from img_cluster.bucket import Bucket, Entry
from img_cluster.index import ending_key, note

PENDING = "pending"
ENGINES = "engines"
METRICS = "metrics"
IDEMPOTENCY = "idempotency"


class HeldClaim(ClaimRecord):
    """The content of a claim."""

    message: str
    """The message that its holder took it from."""


@dataclass(frozen=True)
class JobObjects:
    """The names of one job's objects at one moment."""

    names: dict[str, Entry]

    @property
    def exists(self) -> bool:
        """Whether there is such a job."""
        return "job.json" in self.names

    @property
    def ended(self) -> bool:
        """Whether it has its outcome."""
        return "outcome.json" in self.names

    @property
    def attempts(self) -> int:
        """How many attempts were started."""
        return attempts_in(self.names)


class JobsStore:
    """The objects of all jobs in one bucket. Every method raises StoreError."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def folder(self, job_id: str) -> str:
        """Return what the names of a job's objects begin with. Raises UnknownJob for anything but a guid."""
        if not JOB_ID.fullmatch(job_id):
            raise UnknownJob(job_id)
        return f"jobs/{job_id[:2]}/{job_id}"

    def look(self, job_id: str) -> JobObjects:
        """List the objects of a job. Raises UnknownJob for anything but a guid."""
        return JobObjects(self.bucket.names(self.folder(job_id)))

    def read_job(self, job_id: str) -> Job:
        """Read a job. Raises UnknownJob, DamagedRecord, JobTooNew."""
        content = self.bucket.read(f"{self.folder(job_id)}/job.json")
        if content is None:
            raise UnknownJob(job_id)
        return parse_job(content, job_id)

    def read_what_is_sound(self, job_id: str) -> Job | JobOutline | None:
        """Read a job; None if its record is damaged. Raises UnknownJob."""
        try:
            return self.read_job(job_id)
        except JobTooNew as newer:
            return newer.outline
        except DamagedRecord:
            return None

    def read_outcome(self, job_id: str, objects: JobObjects) -> Outcome | None:
        """Read how a job ended; None if it has not, or is gone meanwhile."""
        if not objects.ended:
            return None
        content = self.bucket.read(f"{self.folder(job_id)}/outcome.json")
        if content is None:
            return None
        return parse_outcome(content, datetime.fromtimestamp(objects.names["outcome.json"].modified, UTC))

    def read_claim(self, job_id: str, attempt: int) -> HeldClaim | None:
        """Read who holds an attempt, and since when; None if there is none, or its record is damaged."""
        content = self.bucket.read(f"{self.folder(job_id)}/claim.{attempt}") if attempt else None
        try:
            return HeldClaim.model_validate_json(content) if content is not None else None
        except ValidationError:
            return None

    def end(self, job_id: str, job: Job | JobOutline | None, outcome: Outcome) -> bool:
        """Write the outcome, exclusively: the first one counts. Either way nothing is pending afterwards."""
        first = self.bucket.create(f"{self.folder(job_id)}/outcome.json", as_json(outcome))
        failpoint("outcome.written")
        if first:
            note(self.bucket, ending_key(job_id, job, outcome))
        if job:  # else the record is damaged, and reconciliation finds the marker
            self.unmark(job_id, job.submitted_at)
        return first

    def unmark(self, job_id: str, submitted_at: datetime) -> None:
        """Remove a job's marker, if it has one."""
        self.bucket.delete([marker(job_id, submitted_at)])


def marker(job_id: str, submitted_at: datetime) -> str:
    """Return the name of a job's marker."""
    return f"{PENDING}/{round(submitted_at.timestamp() * 1_000_000):017d}-{job_id}"


def job_of(name: str) -> str:
    """Return the guid in the name of a marker; no job has it if the name is none of a marker."""
    return name.partition("-")[2]
