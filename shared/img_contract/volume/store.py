"""The client's side of the volume: what img-rest asks of it. A status is derived from the files that are there."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from img_contract.errors import JobDeleted, ResultGone, UnknownJob
from img_contract.job.job import now
from img_contract.job.outcome import Outcome, State
from img_contract.job.query import JobList, JobQuery
from img_contract.job.stats import Stats
from img_contract.job.status import JobStatus
from img_contract.notify.notifier import Notifier
from img_contract.ports import Capacity, IdempotencyKey, StoredResult
from img_contract.records import attempts_in
from img_contract.regular_file import open_regular
from img_contract.results import find_output
from img_contract.volume.endings import EndWatch
from img_contract.volume.engines import Engines
from img_contract.volume.files import create_exclusively, modified_ns, names_in, remove, storage_faults
from img_contract.volume.idempotency import IdempotencyKeys
from img_contract.volume.layout import Layout, read_outcome, read_what_is_sound, started_at
from img_contract.volume.listing import Listing
from img_contract.volume.recent_totals import JournalTotals
from img_contract.volume.submission import VolumeSubmission
from img_contract.volume.waiting import WaitingJobs
from img_contract.waiting import position_of


class VolumeJobs:
    """Jobs on a volume; see `ports.Jobs`."""

    def __init__(
        self,
        layout: Layout,
        notifier: Notifier,
        retention_seconds: float = 24 * 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._notifier = notifier
        self._retention = timedelta(seconds=retention_seconds)
        self._keys = IdempotencyKeys(layout.idempotency)
        self._endings = EndWatch(layout)
        self._waiting = WaitingJobs(layout, clock)
        self._listing = Listing(layout, self._waiting, self.status)
        self._totals = JournalTotals(layout.ended_jobs)

    def begin(self, key: IdempotencyKey | None = None) -> VolumeSubmission:
        return VolumeSubmission(self._layout, self._keys, key, self._notifier.notify)

    def status(self, job_id: str) -> JobStatus:
        folder = self._layout.folder_name(job_id)
        try:
            with storage_faults("read the status of a job", folder, missing_passes=True):
                names = names_in(folder)
                job = read_what_is_sound(folder)
                if "deleted" in names:
                    raise JobDeleted(job_id, job.owner if job else None)
                outcome = read_outcome(folder) if "outcome.json" in names else None
                attempt = attempts_in(names)
                started = outcome.started_at if outcome else started_at(folder, attempt)
                kept_from = outcome.finished_at if outcome else _submitted_at(folder)
        except FileNotFoundError:
            raise UnknownJob(job_id) from None
        if outcome:
            state, attempt = State(outcome.state), outcome.attempt
        else:
            state = State.PROCESSING if attempt else State.QUEUED
        position = position_of(job_id, self._waiting.now) if state is State.QUEUED else None
        return JobStatus(job_id, job, state, attempt, started, kept_from + self._retention, outcome, position)

    def wait_ended(self, job_id: str, seconds: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        return self._endings.wait(job_id, seconds, given_up)

    def open_result(self, status: JobStatus, name: str | None = None) -> StoredResult:
        output = find_output(status, name)
        path = f"{self._layout.folder_name(status.id)}/result/{output.file}"
        with storage_faults("open a result", path):
            try:
                file = open_regular(path)
            except (FileNotFoundError, NotADirectoryError):
                raise ResultGone(f"expected a result of {output.bytes} bytes, found none") from None
        found = os.fstat(file.fileno()).st_size
        if found != output.bytes:
            file.close()
            raise ResultGone(f"expected a result of {output.bytes} bytes, found {found}")
        return StoredResult(output, file)

    def cancel(self, job_id: str) -> bool:
        folder = self._layout.folder_name(job_id)
        with storage_faults("cancel a job", folder):
            try:
                attempt = attempts_in(names_in(folder))
            except FileNotFoundError:
                raise UnknownJob(job_id) from None
            started = started_at(folder, attempt)
            cancelled = Outcome(state=State.CANCELLED, attempt=attempt, started_at=started, finished_at=now())
            try:
                ended = os.path.lexists(f"{folder}/outcome.json") or not self._end(job_id, cancelled)
                # The files go first: on a full volume that makes the room for the mark. A result without its file
                # is a deleted one already.
                for name in ("result", "source", "watermark"):
                    remove(f"{folder}/{name}")
                if ended and read_outcome(folder).state is not State.CANCELLED:
                    create_exclusively(f"{folder}/deleted", b"", durable=True)
            except FileNotFoundError:
                return False  # it expired meanwhile
            return not ended

    def engines(self) -> list[str]:
        return Engines(self._layout).alive()

    def too_new(self) -> int:
        return Engines(self._layout).too_new()

    def engine_metrics(self) -> dict[str, str]:
        return Engines(self._layout).metrics()

    def capacity(self) -> Capacity:
        with storage_faults("look at the volume", self._layout.root):
            return Capacity(shutil.disk_usage(self._layout.root).free, len(self._layout.markers()))

    def stats(self) -> Stats:
        waiting = self._waiting.now()
        with storage_faults("look at the volume", self._layout.root):
            free = shutil.disk_usage(self._layout.root).free
        return waiting.stats(Engines(self._layout).marks(), free, self._totals.hour())

    def list(self, query: JobQuery, limit: int, cursor: str | None = None) -> JobList:
        return self._listing.page(query, limit, cursor)

    def _end(self, job_id: str, outcome: Outcome) -> bool:
        return self._layout.end(job_id, outcome, read_what_is_sound(self._layout.folder(job_id)))


def _submitted_at(folder: str) -> datetime:
    """Return when the upload was written; when the folder was, if a cancellation has removed it. Raises OSError."""
    submitted = modified_ns(f"{folder}/source") or os.lstat(folder).st_mtime_ns
    return datetime.fromtimestamp(submitted / 1e9, UTC)
