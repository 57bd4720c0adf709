"""The way in on the volume: an upload is streamed beside the jobs, and becomes one in a single step."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from img_contract.errors import KeyReused
from img_contract.failpoints import failpoint
from img_contract.job.formats import MEDIA_TYPES, SIGNATURE_BYTES, Format, sniff
from img_contract.job.job import Job, Source, new_job_id, now
from img_contract.job.resize import Resize
from img_contract.volume.files import fsync, fsync_directory, make_empty, rename, storage_faults, write_durably
from img_contract.volume.idempotency import Key, Use

if TYPE_CHECKING:
    from img_contract.volume.store import VolumeStore


class VolumePart:
    """One uploaded file being streamed into a submission's folder."""

    def __init__(self, path: Path, *, digested: bool) -> None:
        failpoint("storage.write")
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115  closed by the submission
        self._head = b""
        self._digest = hashlib.sha256() if digested else None
        self.received = 0

    def write(self, chunk: bytes) -> None:
        with storage_faults():
            failpoint("storage.write")
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]
        self._head += chunk[: SIGNATURE_BYTES - len(self._head)]
        self.received += len(chunk)
        if self._digest:
            self._digest.update(chunk)

    @property
    def digest(self) -> str:
        """SHA-256 of what came, hexadecimal, if it was to be digested."""
        return self._digest.hexdigest() if self._digest else ""

    def described(self, filename: str | None) -> Source:
        picture = sniff(self._head)
        if picture is None:
            raise ValueError("not a picture that can be accepted")
        return Source(filename=filename, media_type=MEDIA_TYPES[picture], format=picture, bytes=self.received)

    def flush(self) -> None:
        fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        self._file.close()


class VolumeSubmission:
    """An upload being streamed to incoming/<guid>/, and a watermark beside it if there is one."""

    def __init__(self, store: VolumeStore, key: Key | None) -> None:
        self.repeated = False
        self._store = store
        self._key = key
        self._id = new_job_id()
        self._folder = store.root / "incoming" / self._id
        self._parts: list[VolumePart] = []
        self._cleaning = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as cleaning:
            if self._key:
                cleaning.enter_context(self._store.keys.held(self._key))
            with storage_faults():
                failpoint("storage.write")
                self._folder.mkdir()
                cleaning.callback(shutil.rmtree, self._folder, ignore_errors=True)  # gone by then after a commit
                self.picture = self._new_part("source")
            self._cleaning = cleaning.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for part in self._parts:
            part.close()
        self._cleaning.close()

    def _new_part(self, name: str) -> VolumePart:
        self._parts.append(VolumePart(self._folder / name, digested=self._key is not None))
        return self._parts[-1]

    def watermark(self) -> VolumePart:
        if len(self._parts) == 1:
            with storage_faults():
                self._new_part("watermark")
        return self._parts[1]

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
            watermark=self._parts[1].described(None) if len(self._parts) > 1 else None,
            accept=accept,
            owner=owner,
            resize=resize,
        )
        earlier = self._earlier(job)
        if earlier:
            self.repeated = True
            return earlier
        folder = self._store.folder(job.id)
        with storage_faults():
            for part in self._parts:
                part.flush()
            failpoint("submission.flushed")
            write_durably(self._folder / "job.json", job.message())
            fsync_directory(self._folder)
            if self._key:
                self._store.keys.note(self._key, Use(job=job.id, content=self._content(job)))
            failpoint("submission.recorded")
            try:
                failpoint("storage.write")
                folder.parent.mkdir()
                fsync_directory(folder.parent.parent)
            except FileExistsError:
                pass
            rename(self._folder, folder)  # from here on the job exists
            try:
                failpoint("submission.renamed")
                fsync_directory(folder.parent)
                # Not flushed: after a power cut, upkeep gives a job that has no marker its marker back.
                make_empty(self._store.root / "pending" / job.id)
                failpoint("submission.marked")
            except OSError:
                # Nobody has been told of it. An engine that has found it finds it gone.
                rename(folder, self._folder)
                (self._store.root / "pending" / job.id).unlink(missing_ok=True)
                raise
        return job

    def _earlier(self, job: Job) -> Job | None:
        """The job that the key has made already. Raises KeyReused if it was made of something else."""
        with storage_faults():
            use = self._store.keys.use_of(self._key) if self._key else None
            earlier = self._store.job(use.job) if use else None
            if use and earlier:
                if use.content != self._content(job):
                    raise KeyReused(
                        "expected the picture and the parameters that came with this Idempotency-Key before"
                    )
                # The first request may have died before it made the marker: that is why it is sent again.
                shard = self._store.folder(earlier.id).parent
                fsync_directory(shard)
                fsync_directory(shard.parent)
                self._store.mark(earlier.id)
        return earlier

    def _content(self, job: Job) -> str:
        """SHA-256, hexadecimal, of all that makes the job what it is; the file's name and the time do not."""
        parts = [part.digest for part in self._parts]
        return hashlib.sha256("\0".join([job.resize.model_dump_json(), *parts]).encode()).hexdigest()
