"""The routes of jobs: thin doors that parse, call one function, and represent what it gives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from flask import Response, request, send_file
from flask_restx import Resource
from img_contract.errors import JobDeleted, ResultGone, StoreError, UnknownJob
from img_contract.failpoints import failpoint
from img_contract.http_models import Status, Submitted
from img_contract.job.formats import MEDIA_TYPES, SUFFIXES, Format
from img_contract.job.job import Job
from img_contract.job.outcome import Output, State
from img_contract.job.status import JobStatus
from img_contract.ports import IdempotencyKey
from werkzeug.exceptions import BadRequest, PreconditionFailed, RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response as AnyResponse

from img_rest.admission.access import own_status, owner
from img_rest.api.problems import RETRY_SECONDS, job_problem
from img_rest.api.representations import status_of, submitted
from img_rest.api.restx import Parts, api, json_answer, parts, problem_model
from img_rest.api.swagger import register_model, resize_parameters
from img_rest.errors import UploadsFull, UploadTooSlow
from img_rest.requests.conditions import tidy_conditions
from img_rest.requests.parameters import (
    MAX_IDEMPOTENCY_KEY,
    check_watermark,
    parse_accept,
    parse_idempotency_key,
    parse_resize,
    parse_wait,
)
from img_rest.requests.upload import leave_unread, receive
from img_rest.server.gateway import client_gone

log = structlog.get_logger(__name__)

_submitted = register_model(api, Submitted)
_status = register_model(api, Status)

_wait = {
    "in": "query",
    "type": "number",
    "minimum": 0,
    "default": 0,
    "description": "Seconds to wait for the job to end, at most `wait_seconds` of GET /limits. "
    "The header `Prefer: wait=N` does the same.",
}
_SUFFIXES = {MEDIA_TYPES[Format(name.value)]: suffix for name, suffix in SUFFIXES.items()}
_PICTURES = list(_SUFFIXES)
_guid = {"in": "path", "type": "string", "description": "The guid that POST /resize gave."}


@api.route("/resize")
class Resizes(Resource):
    """Jobs."""

    @api.doc(
        id="submit",
        consumes=["multipart/form-data"],
        params={
            "file": {
                "in": "formData",
                "type": "file",
                "required": True,
                "description": "The picture. Its format is told by its first bytes, never by its name.",
            },
            "watermark": {
                "in": "formData",
                "type": "file",
                "description": "A second picture, to be put on the result. PNG or WebP keep what is transparent.",
            },
            **resize_parameters("formData"),
            "wait": _wait,
            "Idempotency-Key": {
                "in": "header",
                "type": "string",
                "maxLength": MAX_IDEMPOTENCY_KEY,
                "description": "A name of your own for this request. Sent again, it gives the job that it gave before.",
            },
        },
    )
    @api.response(202, "Accepted, and on disk. Location: the job's status.", _submitted)
    @api.response(303, "Done within the wait. Location: the processed file.")
    @api.response(400, "No picture was sent, or the body is broken.", problem_model)
    @api.response(401, "An API key is needed, where the operator asks for them.", problem_model)
    @api.response(408, "The upload is too slow.", problem_model)
    @api.response(409, "A request with the same Idempotency-Key is under way.", problem_model)
    @api.response(411, "A raw body without Content-Length.", problem_model)
    @api.response(413, "The upload or the form is too large.", problem_model)
    @api.response(415, "Not a picture that is accepted.", problem_model)
    @api.response(
        422,
        "Parameters were refused; the Idempotency-Key was used for something else; or the job failed within the wait.",
        problem_model,
    )
    @api.response(429, "Too many uploads from this key or address. Come again after Retry-After.", problem_model)
    @api.response(
        503, "Too many jobs are waiting, or the volume cannot be used. Come again after Retry-After.", problem_model
    )
    @api.response(507, "The volume is full.", problem_model)
    def post(self) -> AnyResponse:
        """Send a picture to be resized. At least one of width, height and variants is needed."""
        found = parts()
        job, seconds, repeated = _submit(found)
        response = self._answer(found, job, seconds, found.jobs.status(job.id).state if repeated else State.QUEUED)
        if repeated:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    def _answer(self, found: Parts, job: Job, seconds: float, state: State) -> AnyResponse:
        status = _after(found, job.id, seconds)
        if status and status.outcome:
            if not status.outcome.outputs:
                response = job_problem(status)
                response.headers["Location"] = f"/resize/status/{job.id}"
                return response
            return Response(status=303, headers={"Location": f"/resize/{job.id}"})
        state = status.state if status else state
        response = json_answer(submitted(job, state, found.config.retention_seconds), 202)
        response.headers["Location"] = f"/resize/status/{job.id}"
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        failpoint("answer.ready")
        return response


def _submit(found: Parts) -> tuple[Job, float, bool]:
    """Take the upload. Give the job, the seconds that the client will wait for it, and whether it was sent before."""
    query = list(request.args.items(multi=True))
    try:
        parse_wait(query, request.headers, found.config.http.wait_seconds)
        key = parse_idempotency_key(request.headers)
        found.backlog.check()
        with found.uploads, found.jobs.begin(IdempotencyKey(key, owner()) if key else None) as submission:
            upload = receive(request, submission, found.config.limits)
            parameters = [*query, *upload.fields]
            seconds = parse_wait(parameters, request.headers, found.config.http.wait_seconds)
            resize = parse_resize(parameters)
            check_watermark(resize, given=upload.watermarked)
            accept = parse_accept(request.headers.get("Accept"))
            job = submission.commit(filename=upload.filename, resize=resize, accept=accept, owner=owner())
    except (UploadsFull, UploadTooSlow):
        leave_unread(request)  # to read the rest would take what there is too little of
        raise
    if submission.repeated:
        log.info("job_repeated", id=job.id)
        return job, seconds, True
    found.backlog.took_one()
    log.info("job_accepted", id=job.id, bytes=job.source.bytes, format=job.source.format)
    return job, seconds, False


def _after(found: Parts, job_id: str, seconds: float) -> JobStatus | None:
    """The status after the wait. None if it cannot be told now: the job was taken, whatever becomes of this answer."""
    try:
        found.long_polls.wait(job_id, seconds, client_gone(request.environ))
        return found.jobs.status(job_id) if seconds else None
    except (StoreError, UnknownJob, JobDeleted) as error:
        log.warning("status_unknown", id=job_id, reason=str(error))
        return None


@api.route("/resize/status/<guid>")
@api.doc(params={"guid": _guid})
class JobState(Resource):
    """The status of a job."""

    @api.doc(id="status", params={"wait": _wait})
    @api.response(200, "Where the job is. Retry-After until it has ended.", _status)
    @api.response(401, "An API key is needed, where the operator asks for them.", problem_model)
    @api.response(404, "No such job.", problem_model)
    @api.response(410, "The job was deleted.", problem_model)
    @api.response(422, "The wait was refused.", problem_model)
    @api.response(503, "The volume cannot be used.", problem_model)
    def get(self, guid: str) -> AnyResponse:
        """Ask where a job is."""
        found = parts()
        status = _status_after_wait(found, guid)
        response = json_answer(status_of(status))
        response.headers["Cache-Control"] = "no-store"
        if not status.state.final:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response


_FILE_ANSWERS = {
    200: "The processed file. Ranges and conditional requests are understood.",
    206: "The part of the file that Range asked for.",
    304: "The file is the one that If-None-Match names.",
    401: "An API key is needed, where the operator asks for them.",
    404: "No such job, or no result of that name.",
    409: "The job has not ended yet. Come again after Retry-After.",
    410: "The job was cancelled or deleted, or its file is gone.",
    412: "The file is not the one that If-Match names.",
    416: "The range lies outside the file.",
    422: "The job failed, and this is why; or the wait was refused.",
    503: "The volume cannot be used.",
}


def _answers_with_a_file(name: str) -> Callable[[Any], Any]:
    """Document a method that gives a processed file."""

    def documented(method: Any) -> Any:
        for status, meaning in _FILE_ANSWERS.items():
            model = [problem_model] if status >= BadRequest.code else []
            method = api.response(status, meaning, *model)(method)
        produces = [*_PICTURES, "application/problem+json"]
        return api.doc(id=name, params={"wait": _wait}, produces=produces)(method)

    return documented


@api.route("/resize/<guid>")
@api.doc(params={"guid": _guid})
class Result(Resource):
    """The processed file."""

    @_answers_with_a_file("result")
    def get(self, guid: str) -> AnyResponse:
        """Fetch the processed file; of several, the first."""
        return _file(guid)

    @api.doc(id="cancel")
    @api.response(204, "Cancelled or deleted, now or before.")
    @api.response(401, "An API key is needed, where the operator asks for them.", problem_model)
    @api.response(404, "No such job.", problem_model)
    @api.response(503, "The volume cannot be used.", problem_model)
    def delete(self, guid: str) -> AnyResponse:
        """Cancel a job that has not ended, or delete the files of one that has. As often as you like."""
        found = parts()
        with suppress(JobDeleted):
            own_status(found.jobs, guid)
        found.jobs.cancel(guid)
        log.info("job_cancelled", id=guid)
        return Response(status=204)


@api.route("/resize/<guid>/<name>")
@api.doc(params={"guid": _guid, "name": {"in": "path", "type": "string", "description": "The name of a variant."}})
class NamedResult(Resource):
    """One of several processed files."""

    @_answers_with_a_file("named_result")
    def get(self, guid: str, name: str) -> AnyResponse:
        """Fetch the processed file of that name: a variant's, or one that the status lists."""
        return _file(guid, name)


def _file(guid: str, name: str | None = None) -> AnyResponse:
    """A result, after the wait that was asked for."""
    found = parts()
    status = _status_after_wait(found, guid)
    try:
        result = found.jobs.open_result(status, name)
    except ResultGone:
        found.jobs.status(guid)  # raises JobDeleted if it was deleted meanwhile
        raise
    output = result.output
    tidy_conditions(request.environ, output.bytes)
    response = send_file(
        result.file,
        mimetype=output.media_type,
        download_name=_download_name(status, output),
        etag=output.sha256,
        last_modified=status.outcome.finished_at if status.outcome else None,
        conditional=False,  # below, since only we know how long it is
    )
    response.content_length = output.bytes
    try:
        response.make_conditional(request.environ, accept_ranges=True, complete_length=output.bytes)
    except RequestedRangeNotSatisfiable:
        response.close()
        raise
    if response.status_code == PreconditionFailed.code:
        response.close()
        raise PreconditionFailed
    response.headers["Cache-Control"] = f"private, immutable, max-age={found.config.retention_seconds:.0f}"
    return response


def _download_name(status: JobStatus, output: Output) -> str:
    """The name that a browser saves the file under: the upload's, with the new size."""
    filename = status.job.source.filename if status.job else None
    stem = (filename or "").rpartition(".")[0] or "image"
    return f"{stem[:100]}-{output.width}x{output.height}.{_SUFFIXES[output.media_type]}"


def _status_after_wait(found: Parts, guid: str) -> JobStatus:
    seconds = parse_wait(request.args.items(multi=True), request.headers, found.config.http.wait_seconds)
    status = own_status(found.jobs, guid)
    if not seconds or status.state.final:
        return status
    found.long_polls.wait(guid, seconds, client_gone(request.environ))
    return found.jobs.status(guid)
