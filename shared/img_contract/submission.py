"""The way in on the volume: an upload is streamed beside the jobs, and becomes one in a single step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .durable import fsync_directory, storage_faults, write_durably
from .formats import MEDIA_TYPES, SIGNATURE_BYTES, OutputFormat, sniff
from .job import Job, Source, new_job_id, now
from .resize import Resize

if TYPE_CHECKING:
    from .volume import VolumeStore


class VolumePart:
    """One uploaded file being streamed into a submission's folder."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115  closed by the submission
        self._head = b""
        self.received = 0

    def write(self, chunk: bytes) -> None:
        with storage_faults():
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]
        self._head += chunk[: SIGNATURE_BYTES - len(self._head)]
        self.received += len(chunk)

    def described(self, filename: str | None) -> Source:
        picture = sniff(self._head)
        if picture is None:
            raise ValueError("not a picture that can be accepted")
        return Source(filename=filename, media_type=MEDIA_TYPES[picture], format=picture, bytes=self.received)

    def flush(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        self._file.close()


class VolumeSubmission:
    """An upload being streamed to incoming/<guid>/, and a watermark beside it if there is one."""

    def __init__(self, store: VolumeStore) -> None:
        self._store = store
        self._id = new_job_id()
        self._folder = store.root / "incoming" / self._id
        self._folder.mkdir()
        self.picture = VolumePart(self._folder / "source")
        self._watermark: VolumePart | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for part in self._parts():
            part.close()
        shutil.rmtree(self._folder, ignore_errors=True)  # nothing is there any more after a commit

    def watermark(self) -> VolumePart:
        with storage_faults():
            self._watermark = self._watermark or VolumePart(self._folder / "watermark")
        return self._watermark

    def commit(self, *, filename: str | None, resize: Resize, accept: tuple[OutputFormat, ...] = ()) -> Job:
        job = Job(
            version=1,
            id=self._id,
            submitted_at=now(),
            source=self.picture.described(filename),
            watermark=self._watermark.described(None) if self._watermark else None,
            accept=accept,
            resize=resize,
        )
        folder = self._store.folder(job.id)
        with storage_faults():
            for part in self._parts():
                part.flush()
            write_durably(self._folder / "job.json", job.message())
            fsync_directory(self._folder)
            try:
                folder.parent.mkdir()
                fsync_directory(folder.parent.parent)
            except FileExistsError:
                pass
            os.rename(self._folder, folder)  # from here on the job exists
            try:
                fsync_directory(folder.parent)
                # Not flushed: after a power cut, upkeep gives a job that has no marker its marker back.
                (self._store.root / "pending" / job.id).touch()
            except OSError:
                # Nobody has been told of it. An engine that has found it finds it gone.
                os.rename(folder, self._folder)
                (self._store.root / "pending" / job.id).unlink(missing_ok=True)
                raise
        return job

    def _parts(self) -> list[VolumePart]:
        return [self.picture, *([self._watermark] if self._watermark else [])]
