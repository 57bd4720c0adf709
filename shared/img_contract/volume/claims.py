"""The attempts at a job on the volume: exclusive claims, their heartbeat, and leases that end without a wall clock."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from img_contract.errors import DamagedRecord
from img_contract.failpoints import failpoint
from img_contract.job.job import Job, now
from img_contract.job.outcome import Facts, Failure, Outcome, Output, ResultFile, ResultWarning, State
from img_contract.volume.files import create_exclusively, fsync_directory, names_in, read_record, rename, storage_faults

if TYPE_CHECKING:
    from img_contract.volume.store import VolumeStore

_CLAIM: Final = re.compile(r"claim\.([1-9][0-9]*)")


class _ClaimRecord(BaseModel):
    """What is written in a claim: who holds it, since when."""

    model_config = ConfigDict(frozen=True)
    engine: str
    started_at: AwareDatetime


def claims_in(names: Iterable[str]) -> list[int]:
    """The attempts that have a claim, from the names in a job's folder."""
    return [int(match[1]) for name in names if (match := _CLAIM.fullmatch(name))]


def started_at(folder: Path, attempt: int) -> datetime | None:
    """When an attempt started; None if there was none or its record cannot be read."""
    try:
        return _ClaimRecord.model_validate_json(read_record(folder / f"claim.{attempt}")).started_at
    except (OSError, DamagedRecord, ValidationError):
        return None


class LeaseWatch:
    """Tells dead claims: those whose mtime has not changed for a lease, by this process's monotonic clock.

    Wall clocks are never compared: the mtime is only ever compared with itself. So a claim can be told dead only
    by who has watched it for a whole lease.
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease_seconds
        self._clock = clock
        self._seen: dict[str, tuple[str, int, float]] = {}

    def dead(self, claim: Path) -> bool:
        """Look at a claim once more; whether it has now been still for a lease."""
        job_id = claim.parent.name
        try:
            beat = claim.lstat().st_mtime_ns
        except FileNotFoundError:
            return False  # released this moment; the next look will say
        name, last_beat, since = self._seen.get(job_id, ("", 0, 0.0))
        if (name, last_beat) != (claim.name, beat):
            self._seen[job_id] = (claim.name, beat, self._clock())
            return False
        return self._clock() - since >= self._lease

    def forget_all_but(self, job_ids: Iterable[str]) -> None:
        """Drop what was seen of jobs that are no longer pending."""
        keep = set(job_ids)
        self._seen = {job_id: seen for job_id, seen in self._seen.items() if job_id in keep}


class VolumeClaim:
    """One attempt at a job. See `store.Claim`."""

    def __init__(self, store: VolumeStore, folder: Path, job: Job, attempt: int, since: datetime) -> None:
        self.job = job
        self.attempt = attempt
        self.source = folder / "source"
        self.watermark = folder / "watermark"
        self.workspace = folder / "result"
        self._store = store
        self._folder = folder
        self._file = folder / f"claim.{attempt}"
        self._since = since

    @classmethod
    def take(cls, store: VolumeStore, folder: Path, job: Job, attempt: int, engine: str) -> Self | None:
        """Create the claim, or None if another engine was faster. Raises DamagedRecord."""
        claim = cls(store, folder, job, attempt, now())
        record = _ClaimRecord(engine=engine, started_at=claim._since).model_dump_json().encode()
        failpoint("storage.write")
        try:  # before the claim: a claim whose holder has failed costs an attempt
            claim.workspace.mkdir()
        except FileExistsError:
            if claim.workspace.is_symlink() or not claim.workspace.is_dir():
                raise DamagedRecord("its folder of results is no folder") from None
        try:
            file = open(claim._file, "xb")  # noqa: SIM115  empty for a moment; only its name and its mtime matter
        except FileExistsError:
            return None
        try:
            with file:
                failpoint("storage.write")
                file.write(record)
        except OSError:
            claim._file.unlink(missing_ok=True)  # a full disk costs no attempt
            raise
        failpoint("claim.taken")
        return claim

    def heartbeat(self) -> bool:
        with storage_faults():
            try:
                os.utime(self._file, follow_symlinks=False)
                names = names_in(self._folder)
            except FileNotFoundError:
                return False
        return "outcome.json" not in names and max(claims_in(names), default=0) == self.attempt

    def publish(self, rendered: Sequence[ResultFile], facts: Facts, warnings: tuple[ResultWarning, ...]) -> bool:
        outputs = tuple(
            Output(
                name=result.name,
                file=f"{self.attempt}-{result.name}",
                media_type=result.media_type,
                width=result.width,
                height=result.height,
                frames=result.frames,
                bytes=result.bytes,
                sha256=result.sha256,
            )
            for result in rendered
        )
        with storage_faults():
            failpoint("publish.starting")
            for result, output in zip(rendered, outputs, strict=True):
                rename(result.path, self.workspace / output.file)
            failpoint("publish.renamed")
            fsync_directory(self.workspace)
            fsync_directory(self._folder)  # the name of the workspace itself
            stands = self._store.end(self._folder, self._outcome(State.DONE, outputs, warnings, facts=facts))
            if not stands:
                for output in outputs:
                    (self.workspace / output.file).unlink(missing_ok=True)
            return stands

    def fail(self, failure: Failure, facts: Facts | None = None) -> bool:
        with storage_faults():
            return self._store.end(self._folder, self._outcome(State.FAILED, error=failure, facts=facts))

    def abandon(self, reason: str) -> None:
        with storage_faults():
            ended = self._file.with_name(f"{self._file.name}.ended")
            create_exclusively(ended, reason.encode(), durable=False)

    def release(self) -> None:
        with storage_faults():
            self._file.unlink(missing_ok=True)

    def _outcome(
        self,
        state: State,
        outputs: tuple[Output, ...] = (),
        warnings: tuple[ResultWarning, ...] = (),
        *,
        error: Failure | None = None,
        facts: Facts | None = None,
    ) -> Outcome:
        return Outcome.model_validate(
            {
                "state": state,
                "attempt": self.attempt,
                "started_at": self._since,
                "finished_at": now(),
                "facts": facts,
                "outputs": outputs,
                "warnings": warnings,
                "error": error,
            }
        )
