"""The clients. `Client` documents each call; `AsyncClient` has the same calls, to be awaited."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import closing
from datetime import datetime
from http import HTTPStatus
from typing import IO, Any, Self, TypeVar

import httpx2
from img_contract.http_models import Health, JobPage, Limits, Stats, Status

from img_client.exchanges import Exchange, Exchanges, Job, Picture, Request

_T = TypeVar("_T")


class _Base:
    """What both clients are made with.

    `url`: where the service is, e.g. http://localhost:8080. `timeout`: seconds that a connection may take or be silent,
    the wait that was asked for aside. A request that does no harm twice (each but a POST with an empty idempotency key)
    is sent again up to `retries` times after a broken connection, 429, 502, 503, 504 and 507, at the time that
    Retry-After names, unless that is more than `longest_pause` seconds away.
    """

    _transport: type[Any]
    _http: Any

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        longest_pause: float = 60.0,
    ) -> None:
        self._timeout = timeout
        self._calls = Exchanges(retries, longest_pause)
        self._http = self._transport(
            base_url=url,
            headers={"X-API-Key": api_key} if api_key else {},
            verify=not url.startswith("http://"),  # loading certificates that nothing uses takes a tenth of a second
        )

    def _arguments(self, request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "url": request.path,
            "headers": request.headers,
            "data": request.data,
            "files": request.files,
            # A call waits for a connection as long as it must: the others may be long polls, a hundred at once.
            "timeout": httpx2.Timeout(self._timeout, read=self._timeout + request.wait, pool=None),
        }


class Client(_Base):
    """A client for threads: they may share one. Every call raises ImgError; `img_client.errors` draws its tree."""

    _transport = httpx2.Client
    _http: httpx2.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        picture: Picture,
        *,
        idempotency_key: str | None = None,
        wait: float = 0,
        watermark: Picture | None = None,
        filename: str | None = None,
        into: IO[bytes] | None = None,
        **parameters: Any,
    ) -> Job:
        """Send a picture with the parameters of docs/parameters.md; return once the job is on disk, or after `wait`.

        Files are streamed. `idempotency_key`: None for a new one, empty for none: then nothing is sent again. `into`: a
        binary file, to which the first result is written if the job is done within the wait; `Job.delivered` says so.
        Raises JobFailed if the job fails within the wait.
        """
        return self._run(
            self._calls.submit(
                picture,
                idempotency_key=idempotency_key,
                wait=wait,
                watermark=watermark,
                filename=filename,
                parameters=parameters,
                into=into,
            )
        )

    def status(self, job_id: str, wait: float = 0) -> Status:
        """Return where a job is, or how it ended if it does so within `wait` seconds (rounded up to whole ones)."""
        return self._run(self._calls.status(job_id, wait))

    def wait(self, job_id: str, timeout: float | None = None) -> Status:
        """Return the status once the job is done, failed or cancelled. Raises WaitTimedOut after `timeout` seconds."""
        return self._run(self._calls.wait(job_id, timeout))

    def fetch(self, job_id: str, name: str | None = None) -> bytes:
        """Return a result; without a name the first. Raises JobNotDone, JobFailed, NotFound."""
        return self._run(self._calls.fetch(job_id, name))

    def download(self, job_id: str, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Stream a result into a file, which appears, or is replaced, once it is complete."""
        self._run(self._calls.download(job_id, path, name))

    def cancel(self, job_id: str) -> None:
        """Cancel a job, or delete the files of one that has ended. As often as you like."""
        self._run(self._calls.cancel(job_id))

    def jobs(
        self,
        *,
        status: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> JobPage:
        """Return a page of jobs, the newest first; `next` of it, if any, is the cursor of the one that follows.

        `since`, with its time zone, is of their submission; with a status of jobs that ended, of their end.
        """
        return self._run(self._calls.jobs(status=status, since=since, limit=limit, cursor=cursor))

    def stats(self) -> Stats:
        """Return what waits, who works, and what came of the jobs of the last hour."""
        return self._run(self._calls.stats())

    def limits(self) -> Limits:
        """Return what the service accepts."""
        return self._run(self._calls.limits())

    def health(self, *, ready: bool = False) -> Health:
        """Return whether the API is alive or, with `ready`, whether jobs are taken and worked on. Never repeated."""
        return self._run(self._calls.health(ready=ready))

    def resize(
        self, picture: Picture, *, timeout: float | None = None, watermark: Picture | None = None, **parameters: Any
    ) -> bytes:
        """Submit a picture, wait for it, and return the (first) result. Raises WaitTimedOut after `timeout` seconds."""
        return self._run(self._calls.resize(picture, timeout=timeout, watermark=watermark, parameters=parameters))

    def _run(self, exchange: Exchange[_T]) -> _T:
        with closing(exchange):
            try:
                request = next(exchange)
                while True:
                    time.sleep(request.pause)
                    try:
                        answer = self._send(request)
                    except httpx2.RequestError as fault:
                        request = exchange.throw(fault)
                    else:
                        request = exchange.send(answer)
            except StopIteration as end:
                value: _T = end.value
                return value

    def _send(self, request: Request) -> httpx2.Response:
        with self._http.stream(**self._arguments(request)) as answer:
            if request.into is not None and answer.status_code == HTTPStatus.OK:
                for chunk in answer.iter_bytes():
                    request.into.write(chunk)
            else:
                answer.read()
        return answer


class AsyncClient(_Base):
    """A client for one event loop. Files are read and written in portions, on the loop."""

    _transport = httpx2.AsyncClient
    _http: httpx2.AsyncClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def submit(
        self,
        picture: Picture,
        *,
        idempotency_key: str | None = None,
        wait: float = 0,
        watermark: Picture | None = None,
        filename: str | None = None,
        into: IO[bytes] | None = None,
        **parameters: Any,
    ) -> Job:
        return await self._run(
            self._calls.submit(
                picture,
                idempotency_key=idempotency_key,
                wait=wait,
                watermark=watermark,
                filename=filename,
                parameters=parameters,
                into=into,
            )
        )

    async def status(self, job_id: str, wait: float = 0) -> Status:
        return await self._run(self._calls.status(job_id, wait))

    async def wait(self, job_id: str, timeout: float | None = None) -> Status:  # noqa: ASYNC109  the service keeps it
        return await self._run(self._calls.wait(job_id, timeout))

    async def fetch(self, job_id: str, name: str | None = None) -> bytes:
        return await self._run(self._calls.fetch(job_id, name))

    async def download(self, job_id: str, path: str | os.PathLike[str], name: str | None = None) -> None:
        await self._run(self._calls.download(job_id, path, name))

    async def cancel(self, job_id: str) -> None:
        await self._run(self._calls.cancel(job_id))

    async def jobs(
        self,
        *,
        status: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> JobPage:
        return await self._run(self._calls.jobs(status=status, since=since, limit=limit, cursor=cursor))

    async def stats(self) -> Stats:
        return await self._run(self._calls.stats())

    async def limits(self) -> Limits:
        return await self._run(self._calls.limits())

    async def health(self, *, ready: bool = False) -> Health:
        return await self._run(self._calls.health(ready=ready))

    async def resize(
        self,
        picture: Picture,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  the service keeps it
        watermark: Picture | None = None,
        **parameters: Any,
    ) -> bytes:
        return await self._run(self._calls.resize(picture, timeout=timeout, watermark=watermark, parameters=parameters))

    async def _run(self, exchange: Exchange[_T]) -> _T:
        with closing(exchange):
            try:
                request = next(exchange)
                while True:
                    await asyncio.sleep(request.pause)
                    try:
                        answer = await self._send(request)
                    except httpx2.RequestError as fault:
                        request = exchange.throw(fault)
                    else:
                        request = exchange.send(answer)
            except StopIteration as end:
                value: _T = end.value
                return value

    async def _send(self, request: Request) -> httpx2.Response:
        async with self._http.stream(**self._arguments(request)) as answer:
            if request.into is not None and answer.status_code == HTTPStatus.OK:
                async for chunk in answer.aiter_bytes():
                    request.into.write(chunk)
            else:
                await answer.aread()
        return answer
