"""The routes of jobs: each parses its request, calls one use case, and represents what that returns."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from flask import Response, request, send_file
from flask_restx import Api
from img_contract.failpoints import failpoint
from img_contract.job.formats import MEDIA_TYPES, SUFFIXES
from img_contract.job.outcome import Output
from img_contract.job.status import JobStatus
from werkzeug.exceptions import HTTPException, PreconditionFailed
from werkzeug.wrappers import Response as AnyResponse

from img_rest import use_cases
from img_rest.admission.access import current_key
from img_rest.api import documentation
from img_rest.api.problems import RETRY_SECONDS, job_problem
from img_rest.api.representations import links, status_of, submitted
from img_rest.api.restx import ServiceResource, json_answer
from img_rest.requests.conditions import tidy_conditions
from img_rest.requests.parameters import parse_wait
from img_rest.server.client import disconnect_check
from img_rest.services import Services

_SUFFIXES: Final = {MEDIA_TYPES[name]: f".{suffix}" for name, suffix in SUFFIXES.items()}


def add_job_routes(api: Api, services: Services) -> None:
    """Add the routes of jobs to an API."""
    for resource, path, documented in (
        (Jobs, "/resize", documentation.SUBMIT),
        (JobState, "/resize/status/<guid>", documentation.STATUS),
        (Result, "/resize/<guid>", documentation.RESULT),
        (NamedResult, "/resize/<guid>/<name>", documentation.NAMED_RESULT),
    ):
        api.add_resource(resource, path, route_doc=documented, resource_class_kwargs={"services": services})


class Jobs(ServiceResource):
    """All jobs."""

    def post(self) -> AnyResponse:
        """Send a picture to be resized. At least one of width, height and variants is needed."""
        found = use_cases.submit_job(self.services, request, current_key(), disconnect_check(request.environ))
        addresses = links(found.job.id)
        if found.ended and found.ended.outcome and found.ended.outcome.outputs:
            response = Response(status=303, headers={"Location": addresses.result})
        elif found.ended:
            response = job_problem(found.ended)
            response.headers["Location"] = addresses.status
        else:
            response = json_answer(submitted(found.job, found.state, self.services.config.retention_seconds), 202)
            response.headers["Location"] = addresses.status
            response.headers["Retry-After"] = str(RETRY_SECONDS)
            failpoint("answer.ready")
        if found.repeated:
            response.headers["Idempotency-Replayed"] = "true"
        return response


class JobState(ServiceResource):
    """The status of a job."""

    def get(self, guid: str) -> AnyResponse:
        """Ask where a job is."""
        status = _status(self.services, guid)
        response = json_answer(status_of(status))
        response.headers["Cache-Control"] = "no-store"
        if not status.state.final:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response


class Result(ServiceResource):
    """The processed file."""

    def get(self, guid: str) -> AnyResponse:
        """Fetch the processed file; of several, the first."""
        return _file(self.services, guid)

    def delete(self, guid: str) -> AnyResponse:
        """Cancel a job that has not ended, or delete the files of one that has. As often as you like."""
        use_cases.cancel_job(self.services, guid, current_key())
        return Response(status=204)


class NamedResult(ServiceResource):
    """One of several processed files."""

    def get(self, guid: str, name: str) -> AnyResponse:
        """Fetch the processed file of that name: a variant's, or one that the status lists."""
        return _file(self.services, guid, name)


def _status(services: Services, guid: str) -> JobStatus:
    """Return the status of the client's job, after the wait that it asks for."""
    seconds = parse_wait(request.args.items(multi=True), request.headers, services.config.http.wait_seconds)
    return use_cases.job_status(services, guid, current_key(), seconds, disconnect_check(request.environ))


def _file(services: Services, guid: str, name: str | None = None) -> AnyResponse:
    status = _status(services, guid)
    result = use_cases.open_result(services, status, name)
    output = result.output
    tidy_conditions(request.environ, output.bytes)
    response = send_file(
        result.file,
        mimetype=output.media_type,
        download_name=_download_name(status, output),
        etag=output.sha256,
        last_modified=status.outcome.finished_at if status.outcome else None,
        conditional=False,  # below, as only we know how long it is
    )
    response.content_length = output.bytes
    try:
        response.make_conditional(request.environ, accept_ranges=True, complete_length=output.bytes)
        if response.status_code == PreconditionFailed.code:
            raise PreconditionFailed
    except HTTPException:
        response.close()
        raise
    response.headers["Cache-Control"] = f"private, immutable, max-age={services.config.retention_seconds:.0f}"
    return response


def _download_name(status: JobStatus, output: Output) -> str:
    """Return the name that a browser saves the file under: the upload's, with the new size."""
    filename = status.job.source.filename if status.job else None
    stem = PurePosixPath(filename or "").stem.strip(".") or "image"
    suffix = _SUFFIXES.get(output.media_type) or PurePosixPath(output.name).suffix  # of a newer engine's format
    return f"{stem[:100]}-{output.width}x{output.height}{suffix}"
