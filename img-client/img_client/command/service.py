"""Rendering by a service: a picture is sent, its job waited for, and its results fetched."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
import uuid
from collections import defaultdict
from http import HTTPStatus
from pathlib import Path
from typing import IO, BinaryIO, Final

from img_contract.http_models import Status
from img_contract.job.outcome import State as JobState

from img_client import AsyncClient, ImgError, JobFailed, WaitTimedOut
from img_client.command.batch import GaveUp
from img_client.command.drafts import draft
from img_client.command.ending import Ending, Made, State
from img_client.command.parameters import Asked
from img_client.command.patience import Patience, explained, may_pass
from img_client.command.plan import Item
from img_client.command.report import Report

_WAIT_SECONDS: Final = 30
"""How long a job is waited for until a look at whether there is an engine."""

_SMALL_BYTES: Final = 4_000_000
"""Larger files are streamed."""

_OUTDATED: Final = frozenset({"idempotency_key_reused", "job_cancelled", "job_deleted"})
"""What the key of an earlier run may lead to, when the service was renewed or the job was deleted since."""


class ServiceRenderer:
    """Renders by a service, which may go away for so many seconds."""

    def __init__(
        self, client: AsyncClient, server: str, asked: Asked, stdout: BinaryIO, *, fresh: bool, patience: Patience
    ) -> None:
        """Render what is asked. `fresh`: also what an earlier run has sent."""
        self._client = client
        self._server = server
        self._asked = asked
        self._stdout = stdout
        self._fresh = fresh
        self._patience = patience
        self._wait = min(_WAIT_SECONDS, max(patience.seconds, 1))
        self._digest = _digest_of(asked)
        self._alone: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def render(self, item: Item, report: Report) -> Ending:
        """Render one picture; see `batch.Renderer`. A service that does not answer, or is full, is tried again."""
        began = time.monotonic()
        while True:
            try:
                ending = await self._render(item)
            except ImgError as error:
                if may_pass(error):
                    await self._patience.wait(error, report)
                    continue
                if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise GaveUp(explained(error, self._server)) from error
                ending = Ending(
                    file=item.shown, state=State.FAILED, code=error.code, detail=error.detail, job=error.job_id
                )
                break
            else:
                break
        self._patience.restored(report)
        ending.seconds = round(time.monotonic() - began, 3)
        return ending

    async def _render(self, item: Item) -> Ending:
        several = bool(self._asked.resize.variants)
        with draft(item.target.folder if item.target else None) as file:
            status, delivered = await self._job(item, file)
            made = []
            for one in status.outputs:
                name = one.name if several else None
                if delivered:
                    path = self._publish(file, item, one.media_type)
                elif item.target is None:
                    path = None
                    self._stdout.write(await self._client.fetch(status.id, name))
                else:
                    path = item.target.path_of(one.media_type, name)
                    await self._client.download(status.id, path, name)
                made.append(Made(path=path and str(path), **one.model_dump(include=set(Made.model_fields) - {"path"})))
        return Ending(
            file=item.shown,
            state=State.DONE,
            job=status.id,
            bytes=status.source.bytes if status.source else None,
            outputs=made,
            warnings=status.warnings,
        )

    def _publish(self, file: IO[bytes], item: Item, media_type: str) -> Path | None:
        """Put the result that came with the answer where it belongs."""
        if item.target is None:
            file.seek(0)
            shutil.copyfileobj(file, self._stdout)
            return None
        path = item.target.path_of(media_type)
        file.close()
        Path(file.name).replace(path)
        return path

    async def _job(self, item: Item, file: IO[bytes]) -> tuple[Status, bool]:
        """Return the status of a job that is done, perhaps an earlier run's; and whether the file has its result."""
        source = _in_memory(item.source)
        content = await asyncio.to_thread(_digest, source) if isinstance(source, Path) else _digest(source)
        key = f"img-{hashlib.sha256((self._digest + content).encode()).hexdigest()}"
        if self._fresh:
            key = uuid.uuid4().hex
        async with self._alone[key]:  # files with the same content are one job
            try:
                return await self._done(source, item, key, file)
            except ImgError as error:
                if error.code not in _OUTDATED:
                    raise
                return await self._done(source, item, uuid.uuid4().hex, file)

    async def _done(self, source: Path | bytes, item: Item, key: str, file: IO[bytes]) -> tuple[Status, bool]:
        job = await self._client.submit(
            source,
            idempotency_key=key,
            wait=self._wait,
            watermark=self._asked.watermark,
            filename=item.source.name if isinstance(item.source, Path) else None,
            into=None if self._asked.resize.variants else file,
            **self._asked.given,
        )
        status = await self._ended(job.id)
        if status.status is not JobState.DONE:
            raise _failure(status)
        return status, job.delivered

    async def _ended(self, job_id: str) -> Status:
        """Return the status of a job that has ended. Raises Unavailable if there is no engine that could do it."""
        while True:
            try:
                return await self._client.wait(job_id, self._wait)
            except WaitTimedOut:
                await self._client.health(ready=True)


def _failure(status: Status) -> ImgError:
    failed = JobFailed(status.error.detail if status.error else f"the job is {status.status}", job_id=status.id)
    failed.code = status.error.code if status.error else f"job_{status.status}"
    return failed


def _in_memory(source: Path | bytes) -> Path | bytes:
    """Return the content of a file that is small: it is read once, and sent in one piece."""
    return source.read_bytes() if isinstance(source, Path) and source.stat().st_size <= _SMALL_BYTES else source


def _digest(source: Path | bytes) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(asked: Asked) -> str:
    mark = _digest(asked.watermark) if asked.watermark else ""
    return hashlib.sha256(f"{asked.resize.model_dump_json()}\0{mark}".encode()).hexdigest()
