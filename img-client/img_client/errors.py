"""What a call of the client can raise.

ImgError
├── Unreachable        no answer: the connection was refused, broke, or timed out
├── Unavailable        429, 503, 507: not now; come again after `retry_after` seconds
├── Refused            another 4xx: the request itself is not accepted
├── NotFound           404, 410: no such job or result, or it was deleted or cancelled
├── JobNotDone         409: the job has no result yet
├── JobFailed          the picture could not be processed; `code` is the reason
├── WaitTimedOut       the job did not end within the time-out of `wait`
└── UnexpectedAnswer   500, or an answer that is none of the API's
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import httpx2
from img_contract.http_models import ParameterError, Problem
from pydantic import ValidationError


class ImgError(Exception):
    """The root. All but `detail` is None or empty where the answer does not carry it."""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        problem: Problem | None = None,
        retry_after: float | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        """What was expected, and what was found."""
        self.status = status
        """The HTTP status."""
        self.code: str | None = problem.code if problem else None
        """The kind of problem, for programs; docs/errors.md lists them."""
        self.errors: list[ParameterError] = (problem.errors if problem else None) or []
        """Each parameter that was refused."""
        self.limit: int | None = problem.limit if problem else None
        self.actual: int | None = problem.actual if problem else None
        self.retry_after = retry_after
        """Seconds."""
        self.job_id = job_id
        """The job that was accepted all the same."""


class Unreachable(ImgError):
    """The connection was refused, broke, or timed out."""


class Unavailable(ImgError):
    """Too many requests, a full queue or volume, or no engine."""


class Refused(ImgError):
    """The request is not accepted: its picture, parameters, key or size."""


class NotFound(ImgError):
    """The job or the result does not exist, or does so no more."""


class JobNotDone(ImgError):
    """The job has not ended."""


class JobFailed(ImgError):
    """The picture could not be processed."""


class WaitTimedOut(ImgError):
    """The job did not end in time; it goes on."""


class UnexpectedAnswer(ImgError):
    """The service, or something between, answered as the API never does."""


_KINDS: Final[dict[int, type[ImgError]]] = {
    404: NotFound,
    410: NotFound,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}


def error_from(answer: httpx2.Response) -> ImgError:
    """Build the error that an answer of 400 or more stands for."""
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        problem = None
    status = answer.status_code
    kind = _KINDS.get(status, Refused if answer.is_client_error else UnexpectedAnswer)
    location = answer.headers.get("Location", "")
    if status == HTTPStatus.CONFLICT and problem and problem.code == "job_not_done":
        kind = JobNotDone
    elif status == HTTPStatus.UNPROCESSABLE_ENTITY and (location or answer.request.method == "GET"):
        kind = JobFailed  # a GET has nothing else that could be refused with 422
    after = answer.headers.get("Retry-After", "")
    return kind(
        problem.detail if problem else f"{status} {answer.reason_phrase}, an answer that is not the service's",
        status=status,
        problem=problem,
        retry_after=float(after) if after.isdecimal() else None,
        job_id=location.rpartition("/")[2] or None,
    )
