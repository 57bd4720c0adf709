"""Every error as application/problem+json (RFC 9457): one table from errors to statuses, one shape of body."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import structlog
from flask import Flask, Response, current_app, request
from img_contract.config import LimitsConfig
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
from img_contract.messages import quoted
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, NotFound

from img_rest import errors
from img_rest.requests.draining import Drain
from img_rest.requests.hints import likely_routes

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 1
"""When to ask again for a job that has not ended."""
BUSY_RETRY_SECONDS: Final = 10
"""When to try again if no job can be accepted."""

_DRAINED_UPLOADS: Final = 2
"""How much of a refused upload is read, in the largest uploads that are accepted: most of those that are too large are
not much larger, and a client that sends without looking (fetch in Node) sees the answer only after its last byte."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Kind:
    """A kind of problem."""

    status: int
    code: str
    title: str


_KINDS: Final[dict[type[Exception], Kind]] = {
    errors.UploadMissing: Kind(400, "upload_missing", "No picture was sent"),
    errors.UploadMalformed: Kind(400, "upload_malformed", "The request's body is malformed"),
    errors.QueryInvalid: Kind(400, "query_invalid", "The query was refused"),
    errors.KeyMissing: Kind(401, "key_missing", "An API key is required"),
    errors.CrossSite: Kind(403, "cross_site", "The page is of another site"),
    errors.ListingOff: Kind(403, "listing_off", "Jobs are not listed"),
    errors.UploadTooSlow: Kind(408, "upload_too_slow", "The upload is too slow"),
    errors.LengthRequired: Kind(411, "length_required", "The length of the body is missing"),
    errors.UploadTooLarge: Kind(413, "upload_too_large", "The upload is too large"),
    errors.FormTooLarge: Kind(413, "form_too_large", "The form is too large"),
    errors.HeadersTooLarge: Kind(431, "headers_too_large", "The request's headers are too large"),
    errors.NotAPicture: Kind(415, "not_a_picture", "Not an accepted picture"),
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
    KeyReused: Kind(422, "idempotency_key_reused", "The Idempotency-Key was used for another request"),
}

_NOT_DONE: Final = Kind(409, "job_not_done", "The job has not ended yet")
_CANCELLED: Final = Kind(410, "job_cancelled", "The job was cancelled")
_INTERNAL: Final = Kind(500, "internal_error", "Internal error")

_HTTP: Final[dict[int, Kind]] = {
    400: Kind(400, "request_malformed", "The request is malformed"),
    404: Kind(404, "route_unknown", "No such route"),
    405: Kind(405, "method_not_allowed", "Method not allowed"),
    412: Kind(412, "precondition_failed", "The file is not the expected one"),
    416: Kind(416, "range_not_satisfiable", "The range lies outside the file"),
    429: Kind(429, "rate_exceeded", "Too many uploads in too short a time"),
}
"""What Flask and Werkzeug refuse by themselves."""

_DETAILS: Final[dict[type[Exception] | int, str]] = {
    StoreFull: "the volume has no space left, so the request was not carried out; try again later",
    StoreUnavailable: "the volume cannot be read or written now, so the request was not carried out; try again later",
    UnknownJob: "expected the guid of a job, as POST /resize returns it; found one that is unknown or has expired",
    JobDeleted: "the job was deleted by a DELETE, and its files are gone",
    400: "the request is malformed; see the API documentation at {root}/",
    404: "expected one of the routes that are documented at {root}/",
    412: "expected the file's ETag in If-Match, or in If-Unmodified-Since a date that it was not modified after",
    416: "expected a range within the file; its length is in the Content-Range header",
    429: "expected fewer uploads from this key or address; try again after Retry-After",
}
"""By error or HTTP status, where the error's own text is not for clients. `root`: the path at which clients see /."""

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


def failure_kind(failure: Failure) -> Kind:
    """Return the kind of problem of a failed job: it is the picture's, so always 422."""
    return Kind(422, failure.code, _FAILURES.get(failure.code, "The picture could not be processed"))


def all_codes() -> set[str]:
    """Return every code that a problem can have."""
    kinds = [*_KINDS.values(), *_HTTP.values(), _NOT_DONE, _CANCELLED, _INTERNAL]
    return {kind.code for kind in kinds} | {str(code) for code in FailureCode} | {"http_error"}


def problem(kind: Kind, detail: str, **more: Any) -> Response:
    """Return the answer for a problem; `more` are its extra members."""
    body = Problem(
        type=f"urn:img-rest:problem:{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=f"{request.script_root}{request.path}"[:256],
        code=kind.code,
        **more,
    )
    response = Response(body.model_dump_json(exclude_none=True) + "\n", status=kind.status, content_type=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"  # else a cache may keep a 404 or a 410
    return response


def job_problem(status: JobStatus) -> Response:
    """Return the problem of a job that has no result: it has not ended, has failed or was cancelled."""
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


def problem_of(error: Exception, *, logged: bool = True, in_full: bool = False) -> Response:
    """Return the problem that an error of a request is, whatever it is, and log it.

    `in_full`: with the error's own text, which names paths of the volume.
    """
    if isinstance(error, JobNotDone):
        return job_problem(error.status)
    if isinstance(error, HTTPException):
        return _http_problem(error)
    kind = next((_KINDS[ancestor] for ancestor in type(error).__mro__ if ancestor in _KINDS), None)
    if kind is None:
        log.error("request_crashed", path=request.path[:256], exc_info=error)
        return problem(_INTERNAL, "an internal error occurred; the service's log has the details")
    more: dict[str, Any] = {}
    if isinstance(error, errors.ParametersInvalid):
        more["errors"] = [ParameterError(parameter=fault.parameter, detail=fault.detail) for fault in error.faults]
    elif isinstance(error, errors.Limited):
        more |= {"limit": error.limit, "actual": error.actual}
    response = problem(kind, str(error) if in_full else _DETAILS.get(type(error)) or str(error), **more)
    of_the_service = kind.status >= 500  # noqa: PLR2004  not the client's fault
    level = logging.WARNING if of_the_service else logging.INFO
    if logged:
        log.log(level, "request_refused", code=kind.code, path=request.path[:256], reason=str(error)[:256])
    if of_the_service:
        response.headers["Retry-After"] = str(getattr(error, "retry_seconds", BUSY_RETRY_SECONDS))
    if isinstance(error, errors.KeyMissing):
        response.headers["WWW-Authenticate"] = 'Bearer realm="img-rest"'
    if isinstance(error, SubmissionUnderWay):
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def register(app: Flask, limits: LimitsConfig) -> None:
    """Answer every error of an application with a problem, and read the rest of the upload that it refuses."""
    drain = Drain(_DRAINED_UPLOADS * limits.upload_bytes)

    def answer(error: Exception) -> Response:
        response = problem_of(error)
        if response.status_code >= BadRequest.code:
            drain.read_rest(request.environ["wsgi.input"], error)
        return response

    app.register_error_handler(Exception, answer)


def _http_problem(error: HTTPException) -> Response:
    original = error.get_response(request.environ)
    status = error.code or original.status_code
    if status < 400:  # noqa: PLR2004  a redirect is no error
        return Response(original.get_data(), status, original.headers)
    kind = _HTTP.get(status, Kind(status, "http_error", error.name))
    detail = _method_detail(original.headers.get("Allow", "")) if status == MethodNotAllowed.code else None
    known = _DETAILS.get(status, "").replace("{root}", request.script_root)
    if status == NotFound.code:
        known += _route_hint()
    response = problem(kind, detail or known or error.description or error.name)
    for name in ("Allow", "Content-Range", "Retry-After"):
        if name in original.headers:
            response.headers[name] = original.headers[name]
    return response


def _route_hint() -> str:
    """Return which route may have been meant, as the end of a detail; nothing if none is like it."""
    routes = current_app.create_url_adapter(request)
    first_parts = {rule.rule.split("/")[1] for rule in current_app.url_map.iter_rules()} - {""}
    meant = likely_routes(request.path, sorted(first_parts))
    found = next((path for path in meant if routes and path != request.path and routes.allowed_methods(path)), None)
    return f"; did you mean {quoted(request.script_root + found)}?" if found else ""


def _method_detail(allow: str) -> str:
    """Return which methods a route knows, and what those that are most often tried in their place should have been."""
    known = sorted(method for method in allow.split(", ") if method != "OPTIONS")
    detail = f"expected {' or '.join(known)}, found {request.method[:40]}"
    if request.method == "POST" and "GET" in known:
        thing = "status" if request.path.startswith("/resize/status/") else "result"
        what = f"the {thing} is fetched" if request.path.startswith("/resize/") else "it is asked for"
        return f"{detail}; {what} with GET; with curl, leave out -X POST"
    if request.method == "PUT" and "POST" in known:
        return f"{detail}; a picture is sent with POST; with curl -T, add -X POST"
    return detail
