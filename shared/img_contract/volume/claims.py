"""One attempt at a job on the volume: an exclusive claim, its heartbeat, and how it ends."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from img_contract.errors import DamagedRecord
from img_contract.failpoints import failpoint
from img_contract.job.job import Job, now
from img_contract.job.outcome import Facts, Failure, Outcome, Output, ResultFile, ResultWarning, State
from img_contract.ports import LocalFiles
from img_contract.records import ClaimRecord, attempts_in
from img_contract.regular_file import StrPath
from img_contract.volume.files import (
    create_exclusively,
    fsync_directory,
    names_in,
    open_new,
    read_record,
    remove,
    rename,
    storage_faults,
    write_and_close,
)
from img_contract.volume.layout import Layout


class VolumeClaim:
    """See `ports.Claim`. The two callbacks are given the job's id."""

    def __init__(
        self,
        layout: Layout,
        job: Job,
        attempt: int,
        holder: ClaimRecord,
        on_close: Callable[[str], None],
        on_abandon: Callable[[str], None],
    ) -> None:
        self.job = job
        self.attempt = attempt
        self._layout = layout
        self._holder = holder
        self._on_close = on_close
        self._on_abandon = on_abandon
        self._folder = layout.folder_name(job.id)
        self._results = f"{self._folder}/result"
        self._file = f"{self._folder}/claim.{attempt}"

    def take(self) -> Self | None:
        """Create the claim; None if another engine was faster. Raises DamagedRecord, OSError."""
        failpoint("storage.write")
        try:  # before the claim: a claim whose holder has failed costs an attempt
            os.mkdir(self._results)
        except FileExistsError:
            if os.path.islink(self._results) or not os.path.isdir(self._results):
                raise DamagedRecord("its folder of results is no folder") from None
        try:
            descriptor = open_new(self._file)  # empty for a moment; only its name and its mtime matter
        except FileExistsError:
            return None
        try:
            failpoint("storage.write")
            write_and_close(descriptor, self._holder.model_dump_json().encode(), durable=False)
        except OSError:
            remove(self._file)  # a full disk costs no attempt
            raise
        failpoint("claim.taken")
        return self

    @contextmanager
    def files(self) -> Iterator[LocalFiles]:
        folder = Path(self._folder)
        target = folder / "result" / f".{self.attempt}.{self._holder.engine}.part"
        yield LocalFiles(folder / "source", folder / "watermark", target)

    def heartbeat(self) -> bool:
        with storage_faults("keep a claim", self._file):
            try:
                os.utime(self._file, follow_symlinks=False)
                names = names_in(self._folder)
            except FileNotFoundError:
                return False
        return "outcome.json" not in names and attempts_in(names) == self.attempt

    def publish(self, results: Sequence[ResultFile], facts: Facts, warnings: tuple[ResultWarning, ...]) -> bool:
        outputs = tuple(Output.of(result, f"{self.attempt}-{result.name}") for result in results)
        with storage_faults("publish results", self._results):
            failpoint("publish.starting")
            for result, output in zip(results, outputs, strict=True):
                rename(result.path, f"{self._results}/{output.file}")
            failpoint("publish.renamed")
            fsync_directory(self._results)
            fsync_directory(self._folder)  # the name of the folder of results itself
            recorded = self._end(State.DONE, outputs=outputs, warnings=warnings, facts=facts)
            if not recorded:
                for output in outputs:
                    remove(f"{self._results}/{output.file}")
            return recorded

    def fail(self, failure: Failure, facts: Facts | None = None) -> bool:
        with storage_faults("end a job", self._folder):
            return self._end(State.FAILED, error=failure, facts=facts)

    def abandon(self, reason: str) -> None:
        self._on_abandon(self.job.id)
        with storage_faults("abandon an attempt", self._folder):
            create_exclusively(_reason_file(self._folder, self.attempt), reason.encode(), durable=False)

    def release(self) -> None:
        with storage_faults("release a claim", self._file):
            remove(self._file)

    def close(self) -> None:
        self._on_close(self.job.id)

    def _end(self, state: Literal[State.DONE, State.FAILED], **details: Any) -> bool:
        """Write the outcome; `details` are its other fields."""
        started_at = self._holder.started_at
        outcome = Outcome(state=state, attempt=self.attempt, started_at=started_at, finished_at=now(), **details)
        return self._layout.end(self.job.id, outcome, self.job)


def last_reason(folder: StrPath, attempt: int) -> str | None:
    """Return why an attempt was abandoned, in one line; None if its holder said nothing."""
    try:
        return re.sub(r"\s+", " ", read_record(_reason_file(folder, attempt)).decode(errors="replace")).strip()
    except (FileNotFoundError, DamagedRecord):
        return None


def _reason_file(folder: StrPath, attempt: int) -> str:
    return f"{folder}/claim.{attempt}.ended"
