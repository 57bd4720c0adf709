"""Every error as application/problem+json (RFC 9457): one table from errors to statuses, one shape of body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog
from flask import Flask, Response, request
from img_contract.errors import (
    JobDeleted,
    JobNotDone,
    KeyReused,
    ResultGone,
    StoreFull,
    StoreUnavailable,
    SubmissionUnderWay,
    UnknownJob,
    UnknownResult,
)
from img_contract.http_models import ParameterError, Problem
from img_contract.job.outcome import Failure, FailureCode, State
from img_contract.job.status import JobStatus
from werkzeug.exceptions import HTTPException

from img_rest import errors

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 1
"""When to ask again for a job that has not ended."""
BUSY_RETRY_SECONDS: Final = 10
"""When to come again if no job can be taken."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Kind:
    """A kind of problem."""

    status: int
    code: str
    title: str


_KINDS: Final[dict[type[Exception], Kind]] = {
    errors.UploadMissing: Kind(400, "upload_missing", "No picture was sent"),
    errors.UploadMalformed: Kind(400, "upload_malformed", "The request's body is broken"),
    errors.KeyMissing: Kind(401, "key_missing", "An API key is needed"),
    errors.UploadTooSlow: Kind(408, "upload_too_slow", "The upload is too slow"),
    errors.LengthRequired: Kind(411, "length_required", "The length of the body is missing"),
    errors.UploadTooLarge: Kind(413, "upload_too_large", "The upload is too large"),
    errors.FormTooLarge: Kind(413, "form_too_large", "The form is too large"),
    errors.HeadersTooLarge: Kind(431, "headers_too_large", "The request's headers are too large"),
    errors.NotAPicture: Kind(415, "not_a_picture", "Not a picture that is accepted"),
    errors.ParametersInvalid: Kind(422, "parameters_invalid", "Parameters were refused"),
    errors.QueueFull: Kind(503, "queue_full", "Too many jobs are waiting"),
    errors.UploadsFull: Kind(503, "uploads_full", "Too many uploads are under way"),
    errors.VolumeFull: Kind(507, "volume_full", "The volume is full"),
    errors.NoEngine: Kind(503, "no_engine", "No engine is running"),
    StoreFull: Kind(507, "volume_full", "The volume is full"),
    StoreUnavailable: Kind(503, "volume_unavailable", "The volume cannot be used"),
    UnknownJob: Kind(404, "job_unknown", "No such job"),
    UnknownResult: Kind(404, "result_unknown", "No such result"),
    ResultGone: Kind(410, "result_gone", "The result's file is gone"),
    JobDeleted: Kind(410, "job_deleted", "The job was deleted"),
    SubmissionUnderWay: Kind(409, "idempotency_key_in_use", "The same request is under way"),
    KeyReused: Kind(422, "idempotency_key_reused", "The Idempotency-Key was used for something else"),
}

_NOT_DONE: Final = Kind(409, "job_not_done", "The job has not ended yet")
_CANCELLED: Final = Kind(410, "job_cancelled", "The job was cancelled")
_INTERNAL: Final = Kind(500, "internal_error", "A defect of the service")

_HTTP: Final[dict[int, Kind]] = {
    400: Kind(400, "request_malformed", "The request is broken"),
    404: Kind(404, "route_unknown", "No such route"),
    405: Kind(405, "method_not_allowed", "The route does not know this method"),
    406: Kind(406, "not_acceptable", "No answer of the kind that was asked for"),
    412: Kind(412, "precondition_failed", "The file is another one"),
    416: Kind(416, "range_not_satisfiable", "The range lies outside the file"),
    429: Kind(429, "rate_exceeded", "Too many uploads in too short a time"),
}
"""What Flask and Werkzeug refuse by themselves."""

_FAILURES: Final[dict[str, str]] = {
    FailureCode.PICTURE_CORRUPT: "The picture is corrupt",
    FailureCode.PICTURE_UNSUPPORTED: "The picture cannot be decoded",
    FailureCode.TOO_MANY_PIXELS: "The picture has too many pixels",
    FailureCode.TOO_MANY_FRAMES: "The picture has too many frames",
    FailureCode.RESULT_TOO_LARGE: "The result would be too large",
    FailureCode.CROP_OUTSIDE: "The crop lies outside the picture",
    FailureCode.TOO_MUCH_MEMORY: "The picture needs too much memory",
    FailureCode.ENCODING_FAILED: "The result could not be encoded",
    FailureCode.TOO_SLOW: "The picture takes too long",
    FailureCode.ATTEMPTS_EXHAUSTED: "The picture could not be processed",
    FailureCode.JOB_DAMAGED: "The job's record is damaged",
}

_ADVICE: Final[dict[int, str]] = {
    400: "the request cannot be understood; expected a request as the documentation on / has it",
    404: "there is nothing here; the routes are documented on /",
    405: "expected one of the methods in the Allow header",
    406: "expected an Accept header that allows application/json",
    412: "expected the ETag of the file in If-Match, or a date in If-Unmodified-Since that it is not younger than",
    416: "expected a range within the file; its length is in the Content-Range header",
    429: "expected fewer uploads from this key or address; come again after Retry-After",
}


def failure_kind(failure: Failure) -> Kind:
    """The kind of problem that a failed job is: always the picture's, so always 422."""
    return Kind(422, failure.code, _FAILURES.get(failure.code, "The picture could not be processed"))


def all_codes() -> set[str]:
    """Every code that a problem can carry."""
    kinds = [*_KINDS.values(), *_HTTP.values(), _NOT_DONE, _CANCELLED, _INTERNAL]
    return {kind.code for kind in kinds} | {str(code) for code in FailureCode} | {"http_error"}


def problem(kind: Kind, detail: str, **more: Any) -> Response:
    """The answer for a problem; `more` are its extra members."""
    body = Problem(
        type=f"urn:img-rest:problem:{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request.path[:256],
        code=kind.code,
        **more,
    )
    return Response(body.model_dump_json(exclude_none=True) + "\n", status=kind.status, content_type=MEDIA_TYPE)


def job_problem(status: JobStatus) -> Response:
    """Why a job has no result: not yet, never, or not any more."""
    if not status.state.final:
        detail = f"the job is {status.state}; ask again, or use ?wait=N to be answered when it is done"
        response = problem(_NOT_DONE, detail)
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response
    if status.state is State.CANCELLED:
        return problem(_CANCELLED, "the job was cancelled by a DELETE, and has no result")
    failure = status.outcome.error if status.outcome else None
    if failure is None:
        raise ValueError(f"a failed job has an error; this one is {status.state}")
    return problem(failure_kind(failure), failure.detail, limit=failure.limit, actual=failure.actual)


def handle_error(error: Exception) -> Response:
    """Turn whatever a request raised into its problem."""
    if isinstance(error, JobNotDone):
        return job_problem(error.status)
    if isinstance(error, HTTPException):
        return _http_problem(error)
    kind = next((_KINDS[ancestor] for ancestor in type(error).__mro__ if ancestor in _KINDS), None)
    if kind is None:
        log.error("request_crashed", path=request.path[:256], exc_info=error)
        return problem(_INTERNAL, "the service met a defect of its own; its log has the details")
    more: dict[str, Any] = {}
    if isinstance(error, errors.ParametersInvalid):
        more["errors"] = [ParameterError(parameter=fault.parameter, detail=fault.detail) for fault in error.faults]
    elif isinstance(error, errors.Limited):
        more |= {"limit": error.limit, "actual": error.actual}
    response = problem(kind, _detail(error), **more)
    if kind.status < 500:  # noqa: PLR2004  the client's fault
        log.info("request_refused", code=kind.code, path=request.path[:256], reason=str(error)[:256])
    else:
        log.warning("request_refused", code=kind.code, path=request.path[:256], reason=str(error)[:256])
        response.headers["Retry-After"] = str(getattr(error, "retry_seconds", BUSY_RETRY_SECONDS))
    if isinstance(error, errors.KeyMissing):
        response.headers["WWW-Authenticate"] = 'Bearer realm="img-rest"'
    if isinstance(error, SubmissionUnderWay):
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def register(app: Flask) -> None:
    """Answer every error of an application with a problem."""
    app.register_error_handler(Exception, handle_error)


def _detail(error: Exception) -> str:
    match error:
        case UnknownJob():
            return "expected the guid of a job, as POST /resize gives it; found one that is unknown, or has expired"
        case JobDeleted():
            return "the job was deleted by a DELETE; its files are gone"
        case StoreFull():
            return "the volume has no space left; what was asked for was not done, try again later"
        case StoreUnavailable():
            return "the volume cannot be read or written now; what was asked for was not done, try again later"
        case _:
            return str(error)


def _http_problem(error: HTTPException) -> Response:
    original = error.get_response(request.environ)
    status = error.code or original.status_code
    if status < 400:  # noqa: PLR2004  a redirect is no error
        return Response(original.get_data(), status, original.headers)
    kind = _HTTP.get(status, Kind(status, "http_error", error.name))
    response = problem(kind, _ADVICE.get(status) or error.description or error.name)
    for name in ("Allow", "Content-Range", "Retry-After"):
        if name in original.headers:
            response.headers[name] = original.headers[name]
    return response
