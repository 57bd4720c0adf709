"""The routes of jobs: each parses its request, calls one use case, and represents what that returns."""

from __future__ import annotations

from flask import Response, request
from flask_restx import Api
from img_contract.errors import JobDeleted, ResultGone, StoreError, UnknownJob
from img_contract.failpoints import failpoint
from img_contract.job.status import JobStatus
from werkzeug.wrappers import Response as AnyResponse

from img_rest import use_cases
from img_rest.admission.access import current_key
from img_rest.api import documentation
from img_rest.api.files import file_answer
from img_rest.api.problems import RETRY_SECONDS, job_problem
from img_rest.api.representations import links, status_of, submitted
from img_rest.api.restx import ServiceResource, json_answer
from img_rest.requests.conditions import check_preconditions
from img_rest.requests.negotiation import REPRESENTATION, prefers_representation, wants_picture
from img_rest.requests.parameters import parse_wait
from img_rest.server.client import disconnect_check
from img_rest.services import Services


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
        addresses = links(found.job.id, request.script_root)
        body = submitted(found.job, found.state, self.services.config.retention_seconds, request.script_root)
        response: AnyResponse | None = None
        if found.ended and found.ended.outcome and found.ended.outcome.outputs:
            if wants_picture(request.headers):
                response = _picture(self.services, found.ended, addresses.result)
            if response is None:
                response = json_answer(body, 303)
                response.headers["Location"] = addresses.result
        elif found.ended:
            response = job_problem(found.ended)
            response.headers["Location"] = addresses.status
        else:
            response = json_answer(body, 202)
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
        stem, suffix = _split(guid)
        if suffix not in ("", "json"):
            raise UnknownJob(guid)
        status = _status(self.services, stem)
        response = json_answer(status_of(status, request.script_root))
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
        use_cases.cancel_job(self.services, guid.lower(), current_key(), _check_conditions)
        return Response(status=204)


class NamedResult(ServiceResource):
    """One of several processed files."""

    def get(self, guid: str, name: str) -> AnyResponse:
        """Fetch the processed file of that name: a variant's, or one that the status lists."""
        return _file(self.services, guid, name)


def _split(guid: str) -> tuple[str, str]:
    """Return a guid in lower case, as some write it in upper case, and the ending of a file's name that people add."""
    stem, _, suffix = guid.partition(".")
    return (stem if suffix else guid).lower(), suffix


def _status(services: Services, guid: str) -> JobStatus:
    """Return the status of the client's job, after the wait that it asks for."""
    seconds = parse_wait(request.args.items(multi=True), request.headers, services.config.http.wait_seconds)
    return use_cases.job_status(services, guid, current_key(), seconds, disconnect_check(request.environ))


def _check_conditions(status: JobStatus) -> None:
    """Raise PreconditionFailed unless the first result is the one that the request is about."""
    outcome = status.outcome
    etag = outcome.outputs[0].sha256 if outcome and outcome.outputs else None
    check_preconditions(request.environ, etag, outcome.finished_at if outcome else None)


def _picture(services: Services, status: JobStatus, address: str) -> AnyResponse | None:
    """Return the first result as the answer to its upload; None if it cannot be read: the job is done."""
    try:
        result = use_cases.open_result(services, status, None)
    except (ResultGone, JobDeleted, StoreError):
        return None
    response = file_answer(status, result, services.config.retention_seconds)
    response.headers["Content-Location"] = address
    if prefers_representation(request.headers):
        response.headers["Preference-Applied"] = REPRESENTATION
    return response


def _file(services: Services, guid: str, name: str | None = None) -> AnyResponse:
    stem, suffix = _split(guid)
    status = _status(services, stem)
    return file_answer(status, use_cases.open_result(services, status, name, suffix), services.config.retention_seconds)
