"""Each call as an exchange: a generator that yields requests, is sent the answers, and returns what was asked for.

It knows nothing of sockets, so that the sync and the async client run the same ones. An httpx2.RequestError is thrown
into it at the `yield`.
"""

from __future__ import annotations

import math
import os
import random
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import IO, Any, Final, TypeVar
from urllib.parse import quote, urlencode

import httpx2
from img_contract.http_models import Health, JobPage, Limits, Stats, Status, Submitted
from pydantic import BaseModel, ValidationError

from img_client.errors import ImgError, Unavailable, UnexpectedAnswer, Unreachable, WaitTimedOut, error_from

Picture = bytes | str | os.PathLike[str] | IO[bytes]
"""The bytes of a picture, its path, or a binary file, which is sent whole from its start and left open."""

POLL_SECONDS: Final = 30
"""The longest that one request of `wait` waits."""

_POLL_PAUSE: Final = 1.0
"""The shortest time between two polls: a service that has no place for a long poll answers at once."""

_FIRST_PAUSE: Final = 0.2
_LONGEST_BACKOFF: Final = 5.0


@dataclass(frozen=True)
class Request:
    """A request, and how to send it."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] | None = None
    files: dict[str, tuple[str | None, IO[bytes] | bytes]] | None = None
    wait: float = 0.0
    """Seconds that the service may hold the answer back."""
    pause: float = 0.0
    """Seconds to let pass before it is sent."""
    into: IO[bytes] | None = None
    """Where the content of a file goes that is the answer (200); None to keep it in the answer."""
    repeatable: bool = True
    """Whether it may be sent again after a fault."""


@dataclass(frozen=True)
class Job:
    """A job that was accepted."""

    id: str
    done: bool
    """Whether it was done within the wait: its result can be fetched at once."""
    repeated: bool
    """Whether it is the job of an earlier request with the same idempotency key."""
    delivered: bool = False
    """Whether its first result came with the answer, and is where it was to go."""


_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=BaseModel)
Exchange = Generator[Request, httpx2.Response, _T]


@dataclass(frozen=True)
class Exchanges:
    """The calls of the API, each request of them sent again after a fault that may pass."""

    retries: int
    longest_pause: float
    """Seconds; a Retry-After beyond it is not waited for."""

    def submit(
        self,
        picture: Picture,
        *,
        idempotency_key: str | None,
        wait: float,
        watermark: Picture | None,
        filename: str | None,
        parameters: dict[str, Any],
        into: IO[bytes] | None = None,
    ) -> Exchange[Job]:
        """Post a form; with `into`, ask for the result as the answer."""
        key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        with ExitStack() as opened:
            files = {"file": opened.enter_context(_opened(picture, filename))}
            if watermark is not None:
                files["watermark"] = opened.enter_context(_opened(watermark, None))
            request = Request(
                "POST",
                "/resize",
                _prefer(wait, "return=representation" if into else None) | ({"Idempotency-Key": key} if key else {}),
                {name: _text(value) for name, value in parameters.items() if value is not None},
                files,
                wait,
                into=into,
                repeatable=bool(key) and all(isinstance(file, bytes) or file.seekable() for _, file in files.values()),
            )
            answer = yield from self._answer(request)
        delivered = into is not None and answer.status_code == HTTPStatus.OK
        if done := delivered or answer.status_code == HTTPStatus.SEE_OTHER:
            address = answer.headers.get("Content-Location" if delivered else "Location", "")
            job_id = address.rpartition("/resize/")[2].partition("/")[0]
        else:
            job_id = _parsed(Submitted, answer).id
        return Job(job_id, done, "Idempotency-Replayed" in answer.headers, delivered)

    def status(self, job_id: str, wait: float = 0, pause: float = 0) -> Exchange[Status]:
        """Ask where a job is."""
        path = f"/resize/status/{quote(job_id, safe='')}"
        answer = yield from self._answer(Request("GET", path, _prefer(wait), wait=wait, pause=pause))
        return _parsed(Status, answer)

    def wait(self, job_id: str, timeout: float | None) -> Exchange[Status]:
        """Poll until the job has ended."""
        now = due = time.monotonic()
        deadline = now + (math.inf if timeout is None else max(0.0, timeout))
        while True:
            status = yield from self.status(job_id, max(0.0, min(POLL_SECONDS, deadline - due)), due - now)
            now = time.monotonic()
            if status.status.final:
                return status
            if now >= deadline:
                raise WaitTimedOut(f"the job is still {status.status}; it goes on", job_id=job_id)
            due = min(max(due + _POLL_PAUSE, now), deadline)

    def fetch(self, job_id: str, name: str | None, into: IO[bytes] | None = None) -> Exchange[bytes]:
        """Fetch a result; return its bytes if it goes nowhere else."""
        path = "/".join(["/resize", *(quote(part, safe="") for part in (job_id, name) if part)])
        answer = yield from self._answer(Request("GET", path, into=into))
        return answer.content if into is None else b""

    def download(self, job_id: str, path: str | os.PathLike[str], name: str | None) -> Exchange[None]:
        """Fetch a result into a file that appears once it is complete."""
        part = Path(path).with_name(f".{uuid.uuid4().hex}.part")
        try:
            with part.open("xb") as file:
                yield from self.fetch(job_id, name, file)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def cancel(self, job_id: str) -> Exchange[None]:
        """Cancel or delete a job."""
        yield from self._answer(Request("DELETE", f"/resize/{quote(job_id, safe='')}"))

    def jobs(
        self, *, status: str | None, since: datetime | None, limit: int | None, cursor: str | None
    ) -> Exchange[JobPage]:
        """Ask for a page of jobs."""
        asked = {"status": status, "since": since and since.isoformat(), "limit": limit, "cursor": cursor}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return _parsed(JobPage, (yield from self._answer(Request("GET", f"/jobs?{query}" if query else "/jobs"))))

    def stats(self) -> Exchange[Stats]:
        """Ask how the service does."""
        return _parsed(Stats, (yield from self._answer(Request("GET", "/stats"))))

    def limits(self) -> Exchange[Limits]:
        """Ask what is accepted."""
        return _parsed(Limits, (yield from self._answer(Request("GET", "/limits"))))

    def health(self, *, ready: bool) -> Exchange[Health]:
        """Ask how the service is now: never twice."""
        path = "/health/ready" if ready else "/health"
        return _parsed(Health, (yield from self._answer(Request("GET", path, repeatable=False))))

    def resize(
        self, picture: Picture, *, timeout: float | None, watermark: Picture | None, parameters: dict[str, Any]
    ) -> Exchange[bytes]:
        """Submit, wait, fetch."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        content = BytesIO()
        job = yield from self.submit(
            picture,
            idempotency_key=None,
            wait=min(POLL_SECONDS, deadline - time.monotonic()),
            watermark=watermark,
            filename=None,
            parameters=parameters,
            into=content,
        )
        if job.delivered:
            return content.getvalue()
        if not job.done:
            yield from self.wait(job.id, deadline - time.monotonic())
        return (yield from self.fetch(job.id, None))

    def _answer(self, request: Request) -> Exchange[httpx2.Response]:
        """Send a request until it is answered well. Raises ImgError when it is refused, or failed too often."""
        for attempt in count():
            if request.into is not None:
                request.into.seek(0)
                request.into.truncate()
            try:
                answer = yield request
            except httpx2.RequestError as fault:
                error: ImgError = Unreachable(f"no answer from {request.method} {request.path}: {fault!r}")
                error.__cause__ = fault
            else:
                if answer.is_success or answer.status_code == HTTPStatus.SEE_OTHER:
                    return answer
                error = error_from(answer)
            pause = _backoff(attempt) if error.retry_after is None else error.retry_after
            if not (request.repeatable and _may_pass(error)) or attempt >= self.retries or pause > self.longest_pause:
                raise error
            request = replace(request, pause=pause)
        raise AssertionError  # count() has no end


def _may_pass(error: ImgError) -> bool:
    """Return whether the same request may succeed later. A POST that broke may still be read when its copy arrives."""
    return isinstance(error, Unreachable | Unavailable) or error.code == "idempotency_key_in_use"


def _backoff(attempt: int) -> float:
    """Return seconds, twice as many each time, and spread so that many clients do not come back at once."""
    return float(min(_FIRST_PAUSE * 2**attempt, _LONGEST_BACKOFF) * random.uniform(0.5, 1))  # noqa: S311  no secret


@contextmanager
def _opened(picture: Picture, filename: str | None) -> Iterator[tuple[str | None, IO[bytes] | bytes]]:
    """Give the file name and the content to send; close what was opened here."""
    if isinstance(picture, bytes):
        yield _valid(filename), picture
    elif isinstance(picture, str | os.PathLike):
        with Path(picture).open("rb") as file:
            yield _valid(filename or Path(picture).name), file
    else:
        name = getattr(picture, "name", None)
        yield _valid(filename or (Path(name).name if isinstance(name, str) else None)), picture


def _valid(filename: str | None) -> str | None:
    """Return a file name that can be sent: on a disk, it may be no UTF-8."""
    return filename and filename.encode(errors="replace").decode()


def _prefer(wait: float, form: str | None = None) -> dict[str, str]:
    """Return the preferences (RFC 7240): a shorter limit cuts the wait, where it would refuse the parameter."""
    preferences = [*([f"wait={math.ceil(wait)}"] if wait > 0 else []), *([form] if form else [])]
    return {"Prefer": ", ".join(preferences)} if preferences else {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _parsed(model: type[_Model], answer: httpx2.Response) -> _Model:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        kind = answer.headers.get("Content-Type", "nothing").partition(";")[0]
        detail = f"{answer.status_code} with {kind}, an answer that is not the service's: expected {model.__name__}"
        raise UnexpectedAnswer(detail, status=answer.status_code) from error
