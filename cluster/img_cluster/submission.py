"""Receiving an upload: it waits on this machine, and goes to the store when it becomes a job.

It is not streamed to the store: parameters may follow the file, a refused upload would leave parts behind, and a slow
client would hold a connection.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Final, Self

from img_contract.errors import KeyReused, StoreError, StoreUnavailable, UnknownJob
from img_contract.failpoints import failpoint
from img_contract.job.formats import Format
from img_contract.job.job import Job, content_digest, new_job_id, now
from img_contract.job.resize import Resize
from img_contract.ports import IdempotencyKey
from img_contract.receiving import KeyUse, ReceivedFile

from img_cluster.deliveries import Deliveries
from img_cluster.idempotency import Found, IdempotencyKeys
from img_cluster.index import arrival_key, note
from img_cluster.objects import JobsStore, marker

_IN_MEMORY: Final = 1024 * 1024
"""Bytes of an upload that are kept in memory; of a larger one, all is in a temporary file."""


class ScratchFile(ReceivedFile):
    """One uploaded file on this machine; see `ports.UploadedFile`."""

    def __init__(self, *, digested: bool) -> None:
        super().__init__(digested=digested)
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed by the submission

    def write(self, chunk: bytes) -> None:
        with _scratch():
            self._file.write(chunk)
        self._count(chunk)

    def store(self, jobs: JobsStore, key: str) -> None:
        """Write it to the store. Raises StoreError."""
        with _scratch():
            self._file.seek(0)
            content = self._file.read() if self.received <= _IN_MEMORY else self._file
        jobs.bucket.put(key, content)

    def close(self) -> None:
        """Forget it."""
        self._file.close()


class ClusterSubmission:
    """An upload that is being received; see `ports.Submission`."""

    def __init__(
        self, store: JobsStore, keys: IdempotencyKeys, deliveries: Deliveries, key: IdempotencyKey | None
    ) -> None:
        self.repeated = False
        self._store = store
        self._keys = keys
        self._deliveries = deliveries
        self._key = key
        self._files: list[ScratchFile] = []
        self._cleaning = ExitStack()

    def __enter__(self) -> Self:
        if self._key:
            self._cleaning.enter_context(self._keys.held(self._key))
        self.picture = self._new_file()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        self._cleaning.close()

    def watermark(self) -> ScratchFile:
        return self._files[1] if len(self._files) > 1 else self._new_file()

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
            id=new_job_id(),
            submitted_at=now(),
            source=self.picture.described(filename),
            watermark=self._files[1].described(None) if len(self._files) > 1 else None,
            accept=accept,
            owner=owner,
            resize=resize,
        )
        if self._key is None:
            self._write(job, None, "", None)
            return job
        content = content_digest(job, [file.digest for file in self._files])
        found = self._keys.find(self._key)
        if found.use is None:
            self._write(job, self._key, content, found)
            return job
        return self._earlier(job, found.use, content)

    def _new_file(self) -> ScratchFile:
        with _scratch():
            self._files.append(ScratchFile(digested=self._key is not None))
        return self._files[-1]

    def _write(self, job: Job, key: IdempotencyKey | None, content: str, found: Found | None) -> None:
        folder, bucket = self._store.folder(job.id), self._store.bucket
        record = f"{folder}/job.json"
        written = [marker(job.id, job.submitted_at), f"{folder}/source", f"{folder}/watermark", arrival_key(job)]
        try:
            for file, name in zip(self._files, ("source", "watermark"), strict=False):
                file.store(self._store, f"{folder}/{name}")
            failpoint("submission.flushed")
            if key and found:
                written.append(self._keys.record(key, found, KeyUse(job=job.id, content=content)))
            bucket.put(written[0], b"")
            note(bucket, arrival_key(job))
            failpoint("submission.recorded")
            bucket.put(record, job.message())  # from here on the job exists
            failpoint("submission.renamed")
            self._deliveries.send(job.id)
        except BaseException:
            # The client is not answered with a guid. The record goes first: what is left without it is no job.
            with suppress(StoreError):
                bucket.delete([record])
                bucket.delete(written)
            raise
        failpoint("notifier.notified")

    def _earlier(self, asked: Job, use: KeyUse, content: str) -> Job:
        """Return the job that the key has made already. Raises KeyReused if it was made of something else."""
        if use.content != content:
            raise KeyReused
        try:
            made = self._store.read_what_is_sound(use.job)
        except UnknownJob:  # it expired this moment
            made = None
        self.repeated = True
        # The first request may have died before it had the job delivered: reconciliation does, by the marker.
        # It may have been made by a newer version, whose record is not ours to read; what it was asked is the same.
        submitted_at = made.submitted_at if made else asked.submitted_at
        return asked.model_copy(update={"id": use.job, "submitted_at": submitted_at})


@contextmanager
def _scratch() -> Iterator[None]:
    """Turn an OSError of this machine's disk into a StoreError: nothing was accepted, and it may be tried again."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"cannot keep an upload in {tempfile.gettempdir()}: {error.strerror or error}"
        ) from error
