"""Receiving an upload: it is streamed beside the jobs, and becomes one in a single step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import structlog

from img_contract.errors import KeyReused
from img_contract.failpoints import failpoint
from img_contract.history import Arrival
from img_contract.job.formats import Format
from img_contract.job.job import Job, content_digest, new_job_id, now
from img_contract.job.resize import Resize
from img_contract.ports import IdempotencyKey
from img_contract.receiving import KeyUse, ReceivedFile
from img_contract.volume.files import fsync, fsync_directory, link, rename, storage_faults, write_new
from img_contract.volume.idempotency import IdempotencyKeys
from img_contract.volume.layout import Layout, read_what_is_sound

log = structlog.get_logger(__name__)


class VolumeFile(ReceivedFile):
    """One uploaded file being streamed into a submission's folder; see `ports.UploadedFile`."""

    def __init__(self, path: str, *, digested: bool) -> None:
        super().__init__(digested=digested)
        failpoint("storage.write")
        self._path = path
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115  closed by the submission

    def write(self, chunk: bytes) -> None:
        with storage_faults("store an upload", self._path):
            failpoint("storage.write")
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]
        self._count(chunk)

    def flush(self) -> None:
        """Flush to disk and close. Raises OSError."""
        fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Close without flushing."""
        self._file.close()


class VolumeSubmission:
    """An upload being streamed to incoming/<guid>/, with a watermark beside it if there is one."""

    def __init__(
        self, layout: Layout, keys: IdempotencyKeys, key: IdempotencyKey | None, notify: Callable[[Job], bool]
    ) -> None:
        self.repeated = False
        self._layout = layout
        self._keys = keys
        self._key = key
        self._notify = notify
        self._id = new_job_id()
        self._folder = f"{layout.incoming}/{self._id}"
        self._files: list[VolumeFile] = []
        self._cleaning = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as cleaning:
            if self._key:
                cleaning.enter_context(self._keys.held(self._key))
            with storage_faults("store an upload", self._folder):
                failpoint("storage.write")
                os.mkdir(self._folder)
                cleaning.callback(shutil.rmtree, self._folder, ignore_errors=True)  # gone by then after a commit
                self.picture = self._new_file("source")
            self._cleaning = cleaning.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        self._cleaning.close()

    def watermark(self) -> VolumeFile:
        if len(self._files) == 1:
            with storage_faults("store an upload", self._folder):
                self._new_file("watermark")
        return self._files[1]

    def commit(
        self,
        *,
        filename: str | None,
        resize: Resize,
        accept: tuple[Format, ...] = (),
        owner: str | None = None,
    ) -> Job:
        job = Job(
            version=1,
            id=self._id,
            submitted_at=now(),
            source=self.picture.described(filename),
            watermark=self._files[1].described(None) if len(self._files) > 1 else None,
            accept=accept,
            owner=owner,
            resize=resize,
        )
        content = content_digest(job, [file.digest for file in self._files]) if self._key else ""
        with storage_faults("make a job of an upload", self._folder):
            earlier = self._earlier(job, content)
            if earlier:
                self.repeated = True
                job = earlier
            else:
                self._write(job, content)
        if not self._notify(job):
            log.info("engines_not_notified", id=job.id)
        failpoint("notifier.notified")
        return job

    def _new_file(self, name: str) -> VolumeFile:
        self._files.append(VolumeFile(f"{self._folder}/{name}", digested=self._key is not None))
        return self._files[-1]

    def _write(self, job: Job, content: str) -> None:
        folder = self._layout.folder_name(job.id)
        shard = os.path.dirname(folder)
        for file in self._files:
            file.flush()
        failpoint("submission.flushed")
        write_new(f"{self._folder}/job.json", job.message(), durable=True)
        fsync_directory(self._folder)
        if self._key:
            self._keys.record(self._key, KeyUse(job=job.id, content=content))
        failpoint("submission.recorded")
        try:
            failpoint("storage.write")
            os.mkdir(shard)
            fsync_directory(os.path.dirname(shard))
        except FileExistsError:
            pass
        # Before the job exists: a line that leads to none is passed over, a job without its line would not be listed.
        self._layout.recent_jobs.append(Arrival.of(job).words())
        rename(self._folder, folder)  # from here on the job exists
        try:
            failpoint("submission.renamed")
            fsync_directory(shard)
            # A link: a file of its own would be one more to create and to free. Not flushed: after a power cut,
            # `Cleanup` gives a job that has no marker its marker back.
            link(f"{folder}/job.json", self._layout.marker(job.id))
            failpoint("submission.marked")
        except OSError:
            # The client has not been answered. An engine that has found the job finds it gone.
            rename(folder, self._folder)
            self._layout.unmark(job.id)
            raise

    def _earlier(self, asked: Job, content: str) -> Job | None:
        """Return the job that the key has made already. Raises KeyReused if it was made of something else."""
        use = self._keys.use_of(self._key) if self._key else None
        if use is None:
            return None
        folder = self._layout.folder_name(use.job)
        made = read_what_is_sound(folder)
        if made is None:
            return None
        if use.content != content:
            raise KeyReused
        # The first request may have died before it made the marker: that may be why it is sent again.
        shard = os.path.dirname(folder)
        fsync_directory(shard)
        fsync_directory(os.path.dirname(shard))
        self._layout.mark(use.job)
        # It may have been made by a newer version, whose record is not ours to read; what it was asked is the same.
        return asked.model_copy(update={"id": use.job, "submitted_at": made.submitted_at})
