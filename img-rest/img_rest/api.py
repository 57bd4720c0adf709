"""The routes: thin doors that parse, call one function, and represent what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog
from flask import Blueprint, Response, current_app, request, send_file
from flask_restx import Api, Resource
from img_contract.config import Config
from img_contract.doorbell import Ringer
from img_contract.store import JobStore
from pydantic import BaseModel
from werkzeug.wrappers import Response as AnyResponse

from .errors import NoEngine, QueueFull, RestError, VolumeFull
from .parameters import parse_resize, parse_wait
from .polling import Waiters
from .problems import RETRY_SECONDS, Problem, job_problem
from .representations import Health, Limits, Status, Submitted, limits_of, status_of, submitted
from .swagger import register_model, resize_parameters
from .upload import drain, receive

log = structlog.get_logger(__name__)

SEGMENT: Final = "img_rest"
"""The key of this package's parts in `app.extensions`."""


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    config: Config
    store: JobStore
    doorbell: Ringer
    waiters: Waiters


class _ProblemApi(Api):  # type: ignore[misc]  # flask-restx has no types
    """Flask-RESTX with its error handling left to the application, whose errors are all problems."""

    def error_router(self, original_handler: Any, error: Exception) -> Any:
        return original_handler(error)


blueprint = Blueprint("api", __name__)
api = _ProblemApi(
    blueprint,
    version="1",
    title="Picture resizing in the background",
    description="Post a picture and get a guid at once; ask for the status of the job; fetch the processed file. "
    "**Try it:** open `POST /resize` below, press *Try it out*, choose a file, set a width, and press *Execute*.\n\n"
    "A program may also send the picture itself as the body, with the parameters in the query: "
    "`curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' 'http://localhost:8080/resize?width=800'`.\n\n"
    "Every error is an `application/problem+json` (RFC 9457) whose `code` is for programs and whose `detail` says "
    "what was expected and what was found.",
    doc="/",
    default="resize",
    default_label="Resize a picture",
    validate=False,
)

service = api.namespace("service", path="/", description="What is accepted, and how the service is")

_submitted = register_model(api, Submitted)
_status = register_model(api, Status)
_limits = register_model(api, Limits)
_health = register_model(api, Health)
_problem = register_model(api, Problem)

_wait = {
    "in": "query",
    "type": "number",
    "minimum": 0,
    "default": 0,
    "description": "Seconds to wait for the job to end, at most `wait_seconds` of GET /limits. "
    "The header `Prefer: wait=N` does the same.",
}
_guid = {"in": "path", "type": "string", "description": "The guid that POST /resize gave."}


@api.route("/resize")
class Resizes(Resource):  # type: ignore[misc]
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
            **resize_parameters("formData"),
            "wait": _wait,
        },
    )
    @api.response(202, "Accepted, and on disk. Location: the job's status.", _submitted)
    @api.response(303, "Done within the wait. Location: the processed file.")
    @api.response(400, "No picture was sent, or the body is broken.", _problem)
    @api.response(411, "A raw body without Content-Length.", _problem)
    @api.response(413, "The upload is too large.", _problem)
    @api.response(415, "Not a picture that is accepted.", _problem)
    @api.response(422, "Parameters were refused; or the job failed within the wait.", _problem)
    @api.response(503, "Too many jobs are waiting, or the volume cannot be used. Come again after Retry-After.", _problem)
    @api.response(507, "The volume is full.", _problem)
    def post(self) -> AnyResponse:
        """Send a picture to be resized. At least one of width and height is needed."""
        parts = _parts()
        try:
            seconds = parse_wait(request.args.get("wait"), request.headers, parts.config.http.wait_seconds)
            _check_room(parts)
            with parts.store.begin() as submission:
                upload = receive(request, submission, parts.config.limits)
                resize = parse_resize([*request.args.items(multi=True), *upload.fields])
                job = submission.commit(filename=upload.filename, head=upload.head, resize=resize)
        except RestError:
            drain(request, parts.config.limits)
            raise
        rung = parts.doorbell.ring(job)
        log.info("job_accepted", id=job.id, bytes=job.source.bytes, format=job.source.format, rung=rung)
        parts.waiters.wait(job.id, seconds)
        status = parts.store.status(job.id)
        if status.outcome:
            if not status.outcome.outputs:
                return job_problem(status)
            return Response(status=303, headers={"Location": f"/resize/{job.id}"})
        response = _json(submitted(job, status), 202)
        response.headers["Location"] = f"/resize/status/{job.id}"
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response


@api.route("/resize/status/<guid>")
@api.doc(params={"guid": _guid})
class JobState(Resource):  # type: ignore[misc]
    """The status of a job."""

    @api.doc(id="status", params={"wait": _wait})
    @api.response(200, "Where the job is. Retry-After until it has ended.", _status)
    @api.response(404, "No such job.", _problem)
    @api.response(410, "The job was deleted.", _problem)
    @api.response(422, "The wait was refused.", _problem)
    @api.response(503, "The volume cannot be used.", _problem)
    def get(self, guid: str) -> AnyResponse:
        """Ask where a job is."""
        parts = _parts()
        _wait_for(parts, guid)
        status = parts.store.status(guid)
        response = _json(status_of(status))
        response.headers["Cache-Control"] = "no-store"
        if not status.state.final:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response


@api.route("/resize/<guid>")
@api.doc(params={"guid": _guid})
class Result(Resource):  # type: ignore[misc]
    """The processed file."""

    @api.doc(
        id="result",
        params={"wait": _wait},
        produces=["image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "application/problem+json"],
    )
    @api.response(200, "The processed file. Ranges and conditional requests are understood.")
    @api.response(206, "The part of the file that Range asked for.")
    @api.response(304, "The file is the one that If-None-Match names.")
    @api.response(404, "No such job.", _problem)
    @api.response(409, "The job has not ended yet. Come again after Retry-After.", _problem)
    @api.response(410, "The job was cancelled or deleted.", _problem)
    @api.response(416, "The range lies outside the file.", _problem)
    @api.response(422, "The job failed, and this is why; or the wait was refused.", _problem)
    @api.response(503, "The volume cannot be used.", _problem)
    def get(self, guid: str) -> AnyResponse:
        """Fetch the processed file."""
        parts = _parts()
        _wait_for(parts, guid)
        path, output, status = parts.store.open_result(guid)
        stem = (status.job.source.filename or "image").rpartition(".")[0] or "image"
        response = send_file(
            path,
            mimetype=output.media_type,
            download_name=f"{stem[:100]}-{output.width}x{output.height}.{output.name.rpartition('.')[2]}",
            etag=output.sha256,
            last_modified=status.outcome.finished_at if status.outcome else None,
            conditional=True,
        )
        response.headers["Cache-Control"] = "private, immutable, max-age=31536000"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @api.doc(id="cancel")
    @api.response(204, "Cancelled or deleted, now or before.")
    @api.response(404, "No such job.", _problem)
    @api.response(503, "The volume cannot be used.", _problem)
    def delete(self, guid: str) -> AnyResponse:
        """Cancel a job that has not ended, or delete the files of one that has. As often as you like."""
        _parts().store.cancel(guid)
        log.info("job_cancelled", id=guid)
        return Response(status=204)


@service.route("/limits")
class LimitsOfTheService(Resource):  # type: ignore[misc]
    """What is accepted."""

    @api.doc(id="limits")
    @api.response(200, "The limits.", _limits)
    def get(self) -> AnyResponse:
        """Ask what is accepted, and where refusals begin."""
        return _json(limits_of(_parts().config))


@service.route("/health")
class Alive(Resource):  # type: ignore[misc]
    """Liveness."""

    @api.doc(id="health")
    @api.response(200, "The API answers.", _health)
    def get(self) -> AnyResponse:
        """Ask whether the API is alive."""
        return _json(Health())


@service.route("/health/ready")
class Ready(Resource):  # type: ignore[misc]
    """Readiness."""

    @api.doc(id="ready")
    @api.response(200, "The volume takes writes, and an engine is alive.", _health)
    @api.response(503, "One of them is not so.", _problem)
    @api.response(507, "The volume is full.", _problem)
    def get(self) -> AnyResponse:
        """Ask whether jobs are taken and worked on."""
        parts = _parts()
        engines = parts.store.engines()
        if not engines:
            raise NoEngine("expected an engine that was alive within the last 30 seconds, found none; jobs wait for one")
        _check_room(parts)
        return _json(Health(engines=len(engines)))


def _parts() -> Parts:
    parts: Parts = current_app.extensions[SEGMENT]
    return parts


def _wait_for(parts: Parts, guid: str) -> None:
    seconds = parse_wait(request.args.get("wait"), request.headers, parts.config.http.wait_seconds)
    parts.waiters.wait(guid, seconds)


def _check_room(parts: Parts) -> None:
    """Refuse before a byte is stored what could not be kept. Raises QueueFull, VolumeFull, StoreError."""
    limits, capacity = parts.config.limits, parts.store.capacity()
    if capacity.pending >= limits.queue:
        raise QueueFull(
            f"expected fewer than {limits.queue} jobs waiting, found {capacity.pending}; try again later",
            limit=limits.queue,
            actual=capacity.pending,
        )
    if capacity.free_bytes < limits.free_bytes:
        raise VolumeFull(
            f"expected {limits.free_bytes} bytes free on the volume, found {capacity.free_bytes}; try again later",
            limit=limits.free_bytes,
            actual=capacity.free_bytes,
        )


def _json(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status=status, content_type="application/json")
