"""What can be done with jobs, for every door to the service: the routes call these functions, and know no other way.

`owner` is the name of the client's API key; None where no keys are needed. `disconnected` returns whether the client
has gone, so that nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from img_contract.errors import JobDeleted, ResultGone, StoreError, UnknownCursor, UnknownJob
from img_contract.job.formats import MEDIA_TYPES, format_name
from img_contract.job.job import Job
from img_contract.job.outcome import State
from img_contract.job.query import JobList, JobQuery
from img_contract.job.status import JobStatus
from img_contract.ports import IdempotencyKey, StoredResult
from werkzeug.wrappers import Request

from img_rest.errors import ListingOff, NoEngine, ParameterFault, QueryInvalid
from img_rest.requests.parameters import (
    check_query,
    check_watermark,
    parse_accept,
    parse_idempotency_key,
    parse_resize,
    parse_wait,
)
from img_rest.requests.upload import FORM, receive
from img_rest.services import Services

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SubmittedJob:
    """A job that was accepted, now or before."""

    job: Job
    state: State
    ended: JobStatus | None
    """Its status if it ended within the wait."""
    repeated: bool
    """Whether an earlier request with the same Idempotency-Key had submitted it."""


def submit_job(
    services: Services, request: Request, owner: str | None, disconnected: Callable[[], bool]
) -> SubmittedJob:
    """Receive an upload, make it a job, and wait for its end if the client asks for that.

    Raises RestError, KeyReused, SubmissionUnderWay, JobDeleted, StoreError.
    """
    job, seconds, repeated = _receive_job(services, request, owner)
    state = services.jobs.status(job.id).state if repeated else State.QUEUED
    try:
        services.long_polls.wait(job.id, seconds, disconnected)
        status = services.jobs.status(job.id) if seconds else None
    except (StoreError, UnknownJob, JobDeleted) as error:  # the job was accepted, whatever becomes of this answer
        log.warning("status_unknown", id=job.id, reason=str(error))
        status = None
    ended = status if status and status.outcome else None
    return SubmittedJob(job, status.state if status else state, ended, repeated)


def _receive_job(services: Services, request: Request, owner: str | None) -> tuple[Job, float, bool]:
    """Return the job, the seconds that the client wants to wait for it, and whether its request was repeated."""
    query = list(request.args.items(multi=True))
    longest = services.config.http.wait_seconds
    parse_wait(query, request.headers, longest)
    if "Expect" in request.headers:  # the body is sent only if this is not refused
        check_query(query, form_follows=request.mimetype == FORM)
    key = parse_idempotency_key(request.headers)
    services.backlog.check()
    with services.uploads, services.jobs.begin(IdempotencyKey(key, owner) if key else None) as submission:
        upload = receive(request, submission, services.config.limits)
        parameters = [*query, *upload.fields]
        seconds = parse_wait(parameters, request.headers, longest)
        resize = parse_resize(parameters)
        check_watermark(resize, given=upload.watermarked)
        accept = parse_accept(request.headers.get("Accept"))
        job = submission.commit(filename=upload.filename, resize=resize, accept=accept, owner=owner)
    if submission.repeated:
        log.info("job_repeated", id=job.id)
    else:
        services.backlog.add_one()
        log.info("job_accepted", id=job.id, bytes=job.source.bytes, format=job.source.format)
    return job, seconds, submission.repeated


def job_status(
    services: Services, job_id: str, owner: str | None, wait_seconds: float, disconnected: Callable[[], bool]
) -> JobStatus:
    """Return the status of a job, after the wait unless it has ended. Raises UnknownJob, JobDeleted, StoreError."""
    status = _own_status(services, job_id, owner)
    if not wait_seconds or status.state.final:
        return status
    services.long_polls.wait(job_id, wait_seconds, disconnected)
    return services.jobs.status(job_id)


def open_result(services: Services, status: JobStatus, name: str | None, suffix: str = "") -> StoredResult:
    """Open the first result of a job, or the one of that name; the caller closes it.

    `suffix` is that of a format, in which the first one then is; a name may have it added. Raises JobNotDone,
    UnknownResult, ResultGone, JobDeleted, StoreError.
    """
    try:
        return services.jobs.open_result(status, _exact_name(status, name, suffix))
    except ResultGone:
        services.jobs.status(status.id)  # raises JobDeleted if it was deleted meanwhile
        raise


def _exact_name(status: JobStatus, name: str | None, suffix: str) -> str | None:
    outputs = status.outcome.outputs if status.outcome else ()
    stem, _, ending = (name, "", suffix) if name is None else name.rpartition(".")
    if not ending or any(output.name == name for output in outputs):
        return name
    media_type = {str(one): kind for one, kind in MEDIA_TYPES.items()}.get(format_name(ending))
    fitting = [output.name for output in outputs if output.media_type == media_type and stem in (None, output.name)]
    return fitting[0] if fitting else f"{stem or ''}.{ending}"


def cancel_job(services: Services, job_id: str, owner: str | None, check: Callable[[JobStatus], None]) -> None:
    """Cancel a job that has not ended, delete the files of one that has. Raises UnknownJob, StoreError.

    `check` is called with the status of a job that is not deleted yet, and raises if it is not to be.
    """
    with suppress(JobDeleted):
        check(_own_status(services, job_id, owner))
    if services.jobs.cancel(job_id):
        log.info("job_cancelled", id=job_id)
    else:
        log.info("job_deleted", id=job_id)


def check_listing(services: Services) -> None:
    """Raise ListingOff where anyone would see all jobs, and that is not wanted: a guid is all that a result needs."""
    access = services.config.access
    if not access.keys and not access.list:
        raise ListingOff("expected API keys, or access.list to be on: then anyone who can reach the API sees all jobs")


def list_jobs(services: Services, query: JobQuery, limit: int, cursor: str | None) -> JobList:
    """Return a page of jobs. Raises QueryInvalid for an unknown cursor, StoreError."""
    try:
        return services.jobs.list(query, limit, cursor)
    except UnknownCursor as error:
        raise QueryInvalid([ParameterFault("cursor", str(error))]) from None


def check_readiness(services: Services) -> int:
    """Return how many engines are alive. Raises NoEngine, QueueFull, VolumeFull, StoreError if jobs cannot be done."""
    engines = services.jobs.engines()
    if not engines:
        raise NoEngine("expected an engine that was alive within the last 30 seconds, found none; jobs wait for one")
    services.backlog.check()
    return len(engines)


def _own_status(services: Services, job_id: str, owner: str | None) -> JobStatus:
    """Return the status of a job; those of other owners are unknown. Raises UnknownJob, JobDeleted, StoreError."""
    try:
        status = services.jobs.status(job_id)
    except JobDeleted as deleted:
        if owner not in (None, deleted.owner):
            raise UnknownJob(job_id) from None
        raise
    if owner not in (None, status.owner):
        raise UnknownJob(job_id)
    return status
