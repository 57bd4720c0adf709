"""The way in on the volume: an upload is streamed beside the jobs, and becomes one in a single step."""

from __future__ import annotations

import os
import shutil
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .durable import fsync_directory, record, storage_faults, write_durably
from .formats import MEDIA_TYPES, sniff
from .job import Job, Resize, Source, new_job_id, now

if TYPE_CHECKING:
    from .volume import VolumeStore


class VolumeSubmission:
    """An upload being streamed to incoming/<guid>/source."""

    def __init__(self, store: VolumeStore) -> None:
        self._store = store
        self._id = new_job_id()
        self._folder = store.root / "incoming" / self._id
        self._folder.mkdir()
        self._file = open(self._folder / "source", "xb", buffering=0)  # noqa: SIM115  closed by __exit__
        self.received = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)  # nothing is there any more after a commit

    def write(self, chunk: bytes) -> None:
        with storage_faults():
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]
        self.received += len(chunk)

    def commit(self, *, filename: str | None, head: bytes, resize: Resize) -> Job:
        picture = sniff(head)
        if picture is None:
            raise ValueError("not a picture that can be accepted")
        source = Source(filename=filename, media_type=MEDIA_TYPES[picture], format=picture, bytes=self.received)
        job = Job(id=self._id, submitted_at=now(), source=source, resize=resize)
        folder = self._store.folder(job.id)
        with storage_faults():
            os.fsync(self._file.fileno())
            self._file.close()
            write_durably(self._folder / "job.json", record(job))
            fsync_directory(self._folder)
            try:
                folder.parent.mkdir()
                fsync_directory(folder.parent.parent)
            except FileExistsError:
                pass
            os.rename(self._folder, folder)  # from here on the job exists
            try:
                fsync_directory(folder.parent)
                (self._store.root / "pending" / job.id).touch()
                fsync_directory(self._store.root / "pending")
            except OSError:
                # Nobody has been told of it. An engine that has found it finds it gone.
                os.rename(folder, self._folder)
                (self._store.root / "pending" / job.id).unlink(missing_ok=True)
                raise
        return job
