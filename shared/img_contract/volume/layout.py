"""The files of a volume: any POSIX file system with atomic rename, exclusive create and hard links.

    incoming/<guid>/         a submission being written, or a job on its way out; removed when it is an hour old
    jobs/<xx>/<guid>/        xx: the guid's first two characters
        job.json             the message; immutable
        source               the upload; immutable
        watermark            a second upload, if there was one; immutable
        claim.1, claim.2 …   one per attempt, created exclusively; its mtime is the heartbeat
        claim.1.ended        that attempt was abandoned by its holder, with the reason
        result/<n>-<name>    outputs of attempt n, published by rename
        outcome.json         written once, exclusively: done, failed or cancelled, with its facts
        deleted              its owner deleted it after it had ended
    pending/<guid>           a second name of job.json, or an empty file; there from submission until the outcome
    idempotency/<digest>     which job was made under an Idempotency-Key
    engines/<name>           its mtime says when that engine was last alive; in it, how many jobs it left for newer
                             ones, and its version
    recent/<yyyymmddhh>      a line for each job that was submitted in that hour: when, its guid, its owner
    ended/<yyyymmddhh>       a line for each job that ended in that hour: when, its guid, how, and what `history` tells

This module knows the files and their records, and no policy: when a lease ends, what is tried again and what is
removed is decided by the modules above it. They turn the OSErrors that are raised here into StoreErrors.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from img_contract.errors import DamagedRecord, JobTooNew, UnknownJob
from img_contract.failpoints import failpoint
from img_contract.history import Ending
from img_contract.job.job import JOB_ID, Job
from img_contract.job.newer import JobOutline
from img_contract.job.outcome import Outcome
from img_contract.records import ClaimRecord, as_json, parse_job, parse_outcome
from img_contract.regular_file import StrPath
from img_contract.volume.files import (
    create_exclusively,
    fsync_directory,
    make_empty,
    modified_ns,
    read_record,
    remove,
    storage_faults,
)
from img_contract.volume.journal import Journal


class Layout:
    """The folders of one volume."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.jobs = self.root / "jobs"
        self.incoming = self.root / "incoming"
        self.pending = self.root / "pending"
        self.engines = self.root / "engines"
        self.metrics = self.root / "metrics"
        self.idempotency = self.root / "idempotency"
        self.recent_jobs = Journal(self.root / "recent")
        self.ended_jobs = Journal(self.root / "ended")
        self._jobs, self._pending = str(self.jobs), str(self.pending)

    def share_with_group(self) -> None:
        """Let this process make what the volume's group may change, if that may change the volume itself.

        For processes of several users with a group in common, which move and remove what another has made. It sets the
        umask: for programs, at their start.
        """
        with suppress(OSError):
            if os.stat(self.root).st_mode & stat.S_IWGRP:
                os.umask(os.umask(0o077) & ~stat.S_IRWXG)

    def prepare(self) -> None:
        """Create the folders. Both services do it at start; either may be first. Raises StoreError."""
        with storage_faults("prepare the volume", self.root):
            folders = (self.incoming, self.jobs, self.pending, self.engines, self.metrics, self.idempotency)
            for folder in (*folders, self.recent_jobs.folder, self.ended_jobs.folder):
                folder.mkdir(parents=True, exist_ok=True)
            fsync_directory(self.root)

    def folder(self, job_id: str) -> Path:
        """Return the job's folder, whether it exists or not. Raises UnknownJob for anything but a guid."""
        return Path(self.folder_name(job_id))

    def exists(self, job_id: str) -> bool:
        """Return whether the job is on the volume; False for anything but a guid."""
        return bool(JOB_ID.fullmatch(job_id)) and os.path.exists(self.folder_name(job_id))

    def folder_name(self, job_id: str) -> str:
        """Return the same as a text, which is faster: most of what is done for each job does with that."""
        if not JOB_ID.fullmatch(job_id):
            raise UnknownJob(job_id)
        return f"{self._jobs}/{job_id[:2]}/{job_id}"

    def marker(self, job_id: str) -> str:
        """Return the name of the job's marker."""
        return f"{self._pending}/{job_id}"

    def ended(self, job_id: str) -> bool:
        """Return whether the job has ended or is gone; cheap enough to be called every few milliseconds."""
        folder = self.folder_name(job_id)
        return os.path.lexists(f"{folder}/outcome.json") or not os.path.exists(folder)

    def begun(self, job_id: str) -> bool:
        """Return whether an attempt at the job was started; as cheap."""
        return os.path.lexists(f"{self.folder_name(job_id)}/claim.1")

    def markers(self) -> list[os.DirEntry[str]]:
        """List the markers of the jobs that have not ended."""
        return [entry for entry in os.scandir(self.pending) if JOB_ID.fullmatch(entry.name)]

    def mark(self, job_id: str) -> None:
        """Give a job its marker, unless it has ended."""
        if not self.ended(job_id):
            make_empty(self.marker(job_id))

    def unmark(self, job_id: str) -> None:
        """Remove a job's marker, if it has one."""
        remove(self.marker(job_id))

    def end(self, job_id: str, outcome: Outcome, job: Job | JobOutline | None = None) -> bool:
        """Write the outcome, exclusively: the first one counts. Either way nothing is pending afterwards.

        `job`: what is known of it, for the journal.
        """
        first = create_exclusively(f"{self.folder_name(job_id)}/outcome.json", as_json(outcome), durable=True)
        failpoint("outcome.written")
        if first:
            self.ended_jobs.append(Ending.of(job_id, job, outcome).words())
        self.unmark(job_id)
        return first

    def present_ns(self) -> int:
        """Return the present by the volume's own clock, in nanoseconds since the epoch.

        Only with that can the ages of files be compared: this process's clock may be an hour off.
        """
        os.utime(self.incoming)
        return modified_ns(self.incoming)


def started_at(folder: StrPath, attempt: int) -> datetime | None:
    """Return when an attempt started; None if there was none or its record cannot be read."""
    try:
        return ClaimRecord.model_validate_json(read_record(f"{folder}/claim.{attempt}")).started_at
    except (OSError, DamagedRecord, ValidationError):
        return None


def read_job(folder: StrPath) -> Job:
    """Read job.json. Raises DamagedRecord, JobTooNew; FileNotFoundError if the whole folder is gone."""
    try:
        content = read_record(f"{folder}/job.json")
    except FileNotFoundError:
        if os.path.exists(folder):
            raise DamagedRecord("job.json is missing") from None
        raise
    return parse_job(content, os.path.basename(folder))


def read_what_is_sound(folder: StrPath) -> Job | JobOutline | None:
    """Read job.json; None if it is damaged, which an engine will report in the outcome, or gone."""
    try:
        return read_job(folder)
    except JobTooNew as newer:
        return newer.outline
    except (DamagedRecord, FileNotFoundError):
        return None


def read_outcome(folder: StrPath) -> Outcome:
    """Read how the job ended. A damaged outcome is one, too: the job is not to be done again."""
    path = f"{folder}/outcome.json"
    try:
        content = read_record(path)
    except DamagedRecord:
        content = b""
    return parse_outcome(content, datetime.fromtimestamp(os.lstat(path).st_mtime, UTC))
