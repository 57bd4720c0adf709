"""JobStore on a directory tree: any POSIX file system with atomic rename, exclusive create and hard links.

    incoming/<guid>/         a submission being written, or a job on its way out; swept when it is an hour old
    jobs/<xx>/<guid>/        xx: the guid's first two characters
        job.json             the message; immutable
        source               the upload; immutable
        watermark            a second upload, if there was one; immutable
        claim.1, claim.2 …   one per attempt, created exclusively; its mtime is the heartbeat
        claim.1.ended        that attempt was given up by its holder, with the reason
        result/<n>-<name>    outputs of attempt n, published by rename
        outcome.json         written once, exclusively: done, failed or cancelled, with its facts
        deleted              its owner deleted it after it had ended
    pending/<guid>           empty; there from submission until the outcome
    idempotency/<digest>     which job was made under an Idempotency-Key
    engines/<name>           empty; its mtime says when that engine was last alive

This module has status and outcome; `submission` has the way in, `claims` the attempts, `upkeep` the cleaning.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from img_contract.errors import DamagedRecord, JobDeleted, JobNotDone, ResultGone, UnknownJob, UnknownResult
from img_contract.failpoints import failpoint
from img_contract.job.job import JOB_ID, Job, new_job_id, now
from img_contract.job.outcome import Failure, FailureCode, JobStatus, Outcome, Output, State
from img_contract.ports import Capacity
from img_contract.volume.claims import LeaseWatch, VolumeClaim, claims_in, started_at
from img_contract.volume.cleanup import Upkeep
from img_contract.volume.files import (
    create_exclusively,
    fsync_directory,
    make_empty,
    modified_ns,
    names_in,
    read_record,
    record,
    remove,
    storage_faults,
    write_durably,
)
from img_contract.volume.idempotency import IdempotencyKeys, Key
from img_contract.volume.submission import VolumeSubmission

PENDING_PORTION: Final = 1000
"""How many of the oldest pending jobs one sweep looks at; the rest wait their turn."""

ENGINE_SILENCE_SECONDS: Final = 30.0
"""An engine that has not announced itself for this long is not counted as alive."""


@dataclass
class VolumeStore:
    """Jobs on a shared directory. The API calls it from many threads; an engine claims from one thread only."""

    root: Path
    retention_seconds: float = 24 * 3600.0
    lease_seconds: float = 30.0
    attempts: int = 3
    keys: IdempotencyKeys = field(init=False, repr=False)
    _jobs: str = field(init=False, repr=False)
    _watch: LeaseWatch = field(init=False, repr=False)
    _upkeep: Upkeep = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.root = self.root.absolute()
        self._jobs = str(self.root / "jobs")
        self.keys = IdempotencyKeys(self.root / "idempotency")
        self._watch = LeaseWatch(self.lease_seconds)
        self._upkeep = Upkeep(self.root, self.retention_seconds)

    def prepare(self) -> None:
        """Create the top folders. Both containers do it at start; either may be first. Raises StoreError."""
        with storage_faults():
            for name in ("incoming", "jobs", "pending", "engines", "idempotency"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            fsync_directory(self.root)

    # The client's side

    def begin(self, key: Key | None = None) -> VolumeSubmission:
        return VolumeSubmission(self, key)

    def owner(self, job_id: str) -> str | None:
        folder = self.folder(job_id)
        with storage_faults():
            try:
                names_in(folder)
            except FileNotFoundError:
                raise UnknownJob(job_id) from None
        job = _job_if_sound(folder)
        return job.owner if job else None

    def status(self, job_id: str) -> JobStatus:
        folder = self.folder(job_id)
        try:
            with storage_faults(missing_passes=True):
                names = names_in(folder)
                if "deleted" in names:
                    raise JobDeleted(job_id)
                outcome = _read_outcome(folder) if "outcome.json" in names else None
                attempt = max(claims_in(names), default=0)
                submitted = (folder / ("source" if "source" in names else ".")).lstat().st_mtime
                started = outcome.started_at if outcome else started_at(folder, attempt)
        except FileNotFoundError:
            raise UnknownJob(job_id) from None
        if outcome:
            state, attempt = State(outcome.state), outcome.attempt
        else:
            state = State.PROCESSING if attempt else State.QUEUED
        kept_from = outcome.finished_at if outcome else datetime.fromtimestamp(submitted, UTC)
        expires_at = kept_from + timedelta(seconds=self.retention_seconds)
        return JobStatus(job_id, lambda: _job_if_sound(folder), state, attempt, started, expires_at, outcome)

    def ended(self, job_id: str) -> bool:
        folder = self._folder_name(job_id)
        with storage_faults():
            return os.path.lexists(f"{folder}/outcome.json") or not os.path.exists(folder)

    def open_result(self, job_id: str, name: str | None = None) -> tuple[Path, Output, JobStatus]:
        status = self.status(job_id)
        if status.outcome is None or status.state is not State.DONE:
            raise JobNotDone(status)
        for output in status.outcome.outputs:
            if name in (None, output.name):
                path = self.folder(job_id) / "result" / output.file
                _check_result(path, output)
                return path, output, status
        raise UnknownResult([output.name for output in status.outcome.outputs])

    def cancel(self, job_id: str) -> None:
        folder = self.folder(job_id)
        with storage_faults():
            try:
                attempt = max(claims_in(names_in(folder)), default=0)
            except FileNotFoundError:
                raise UnknownJob(job_id) from None
            try:
                cancelled = Outcome(
                    state=State.CANCELLED,
                    attempt=attempt,
                    started_at=started_at(folder, attempt),
                    finished_at=now(),
                )
                ended = os.path.lexists(folder / "outcome.json") or not self.end(folder, cancelled)
                # The files go first: on a full volume that makes the room for the mark. A result without its file
                # is a deleted one already.
                for name in ("result", "source", "watermark"):
                    remove(folder / name)
                if ended and _read_outcome(folder).state is not State.CANCELLED:
                    create_exclusively(folder / "deleted", b"", durable=True)
            except FileNotFoundError:
                return  # it expired under our hands

    # The engine's side

    def pending(self) -> list[str]:
        with storage_faults():
            markers = [(modified_ns(Path(entry.path)), entry.name) for entry in self._markers()]
        ids = [name for beat, name in sorted(markers) if beat][:PENDING_PORTION]  # 0: it ended this moment
        self._watch.forget_all_but(ids)
        return [job_id for job_id in ids if self._claimable(job_id) is not None]

    def claim(self, job_id: str, engine: str) -> VolumeClaim | None:
        attempts = self._claimable(job_id)
        if attempts is None:
            return None
        folder = self.folder(job_id)
        try:
            with storage_faults(missing_passes=True):
                job = _read_job(folder)
                if attempts >= self.attempts:
                    detail = (
                        f"gave up after {attempts} attempts; the last one ended with: {_last_reason(folder, attempts)}"
                    )
                    self._give_up(folder, attempts, FailureCode.ATTEMPTS_EXHAUSTED, detail)
                    return None
                return VolumeClaim.take(self, folder, job, attempts + 1, engine)
        except DamagedRecord as error:
            with storage_faults():
                self._give_up(folder, attempts, FailureCode.JOB_DAMAGED, f"the job is damaged: {error}")
            return None
        except FileNotFoundError:
            return None  # it expired under our hands

    def upkeep(self) -> None:
        with storage_faults():
            self._upkeep.portion()

    def announce(self, engine: str) -> None:
        with storage_faults():
            (self.root / "engines" / engine).touch()

    def withdraw(self, engine: str) -> None:
        with storage_faults():
            (self.root / "engines" / engine).unlink(missing_ok=True)

    def engines(self) -> list[str]:
        # The probe's mtime is the volume's own clock: the engines' mtimes are compared with it, never with this
        # machine's clock. That it can be written is the proof that the volume takes writes.
        probe = self.root / "incoming" / f".probe-{new_job_id()}"
        with storage_faults():
            write_durably(probe, b"")
            present = modified_ns(probe)
            probe.unlink()
            seen = {entry.name: modified_ns(Path(entry.path)) for entry in os.scandir(self.root / "engines")}
        return [name for name, last in seen.items() if present - last < ENGINE_SILENCE_SECONDS * 1e9]

    def capacity(self) -> Capacity:
        with storage_faults():
            return Capacity(shutil.disk_usage(self.root).free, sum(1 for _ in self._markers()))

    # What the parts of this store share

    def folder(self, job_id: str) -> Path:
        """The job's folder, whether it exists or not. Raises UnknownJob for anything but a guid."""
        return Path(self._folder_name(job_id))

    def _folder_name(self, job_id: str) -> str:
        """The same as a text: `ended` is asked for it hundreds of times a second."""
        if not JOB_ID.fullmatch(job_id):
            raise UnknownJob(job_id)
        return f"{self._jobs}/{job_id[:2]}/{job_id}"

    def end(self, folder: Path, outcome: Outcome) -> bool:
        """The exclusive last step: the first outcome stands. Either way nothing is pending afterwards."""
        first = create_exclusively(folder / "outcome.json", record(outcome), durable=True)
        failpoint("outcome.written")
        remove(self.root / "pending" / folder.name)
        return first

    def mark(self, job_id: str) -> None:
        """Have the engines look at a job, unless it has ended. Raises OSError."""
        if not self.ended(job_id):
            make_empty(self.root / "pending" / job_id)

    def job(self, job_id: str) -> Job | None:
        """The job, whatever became of it; None if it is gone or damaged. Raises OSError."""
        return _job_if_sound(self.folder(job_id))

    def _claimable(self, job_id: str) -> int | None:
        """How many attempts the job has had, if it can be claimed now; else None."""
        with storage_faults():
            try:
                folder = self.folder(job_id)
                names = names_in(folder)
            except (UnknownJob, FileNotFoundError):
                return None
            if "outcome.json" in names:  # an engine died between the outcome and the marker
                remove(self.root / "pending" / job_id)
                return None
            attempts = max(claims_in(names), default=0)
            if attempts == 0 or f"claim.{attempts}.ended" in names or self._watch.dead(folder / f"claim.{attempts}"):
                return attempts
            return None

    def _give_up(self, folder: Path, attempts: int, code: FailureCode, detail: str) -> None:
        failure = Failure(code=code, detail=detail)
        started = started_at(folder, attempts)
        self.end(
            folder,
            Outcome(state=State.FAILED, attempt=attempts, started_at=started, finished_at=now(), error=failure),
        )

    def _markers(self) -> list[os.DirEntry[str]]:
        return [entry for entry in os.scandir(self.root / "pending") if JOB_ID.fullmatch(entry.name)]


def _read_job(folder: Path) -> Job:
    try:
        job = Job.model_validate_json(read_record(folder / "job.json"))
    except FileNotFoundError:
        if folder.exists():
            raise DamagedRecord("job.json is missing") from None
        raise
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise DamagedRecord(": ".join(["job.json", *map(str, fault["loc"]), fault["msg"]])) from None
    if job.id != folder.name:
        raise DamagedRecord(f"job.json is of job {job.id}")
    return job


def _job_if_sound(folder: Path) -> Job | None:
    try:
        with storage_faults(missing_passes=True):
            return _read_job(folder)
    except (DamagedRecord, FileNotFoundError):
        return None  # an engine fails a damaged one, and says so in the outcome; or it went while we looked


def _read_outcome(folder: Path) -> Outcome:
    """How the job ended. A damaged outcome is one: the job was not left undone, and nobody can tell its result."""
    path = folder / "outcome.json"
    try:
        return Outcome.model_validate_json(read_record(path))
    except (DamagedRecord, ValidationError):
        failure = Failure(code=FailureCode.JOB_DAMAGED, detail="outcome.json is damaged; nobody can tell the result")
        ended = datetime.fromtimestamp(path.lstat().st_mtime, UTC)
        return Outcome(state=State.FAILED, finished_at=ended, error=failure)


def _check_result(path: Path, output: Output) -> None:
    """Raise ResultGone unless the file is there, is no link, and has its size."""
    with storage_faults(missing_passes=True):
        try:
            entry = path.lstat()
            found = entry.st_size if stat.S_ISREG(entry.st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            found = None
    if found != output.bytes:
        raise ResultGone(f"expected a result of {output.bytes} bytes, found {'none' if found is None else found}")


def _last_reason(folder: Path, attempt: int) -> str:
    try:
        return re.sub(r"\s+", " ", read_record(folder / f"claim.{attempt}.ended").decode(errors="replace")).strip()
    except (FileNotFoundError, DamagedRecord):
        return "the engine died without a word"
