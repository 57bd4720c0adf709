"""The Swagger documentation of each route. Models are named as in `img_contract.http_models`."""

from __future__ import annotations

from typing import Any, Final

from img_contract.job.formats import MEDIA_TYPES, WRITABLE
from img_contract.job.outcome import State

from img_rest.api.swagger import FILE, resize_parameters
from img_rest.requests.listing import CURSOR, DEFAULT_LIMIT, MOST
from img_rest.requests.parameters import MAX_IDEMPOTENCY_KEY

Documentation = dict[str, Any]

_GUID: Final = {"guid": {"in": "path", "type": "string", "description": "The guid that POST /resize returned."}}
_NAME: Final = {"name": {"in": "path", "type": "string", "description": "The name of a variant."}}
_WAIT: Final = {
    "wait": {
        "in": "query",
        "type": "number",
        "minimum": 0,
        "default": 0,
        "description": "Seconds to wait for the job to end, at most `wait_seconds` of GET /limits. "
        "The header `Prefer: wait=N` does the same.",
    }
}
_FILES: Final = {
    "file": {
        "in": "formData",
        "type": "file",
        "required": True,
        "description": "The picture. Its format is detected from its first bytes, never from its name.",
    },
    "watermark": {
        "in": "formData",
        "type": "file",
        "description": "A second picture, to be put on the result. PNG or WebP keep what is transparent.",
    },
}
_IDEMPOTENCY_KEY: Final = {
    "Idempotency-Key": {
        "in": "header",
        "type": "string",
        "maxLength": MAX_IDEMPOTENCY_KEY,
        "description": "A name of your own for this request. If it is sent again, the answer is the same job.",
    }
}
_PICTURES: Final = [MEDIA_TYPES[one] for one in WRITABLE]
_BODILESS: Final = (204, 304)
_NEEDS_KEY: Final = {401: "An API key is required, where the operator has set some."}
_OF_A_JOB: Final = {**_NEEDS_KEY, 404: "No such job.", 503: "The volume cannot be used."}


def _operation(
    name: str,
    answers: dict[int, str],
    *,
    model: str | type[str] | None = None,
    files: tuple[int, ...] = (),
    **more: dict[str, Any] | list[str],
) -> Documentation:
    """Document one method. Errors are problems; all other answers with a body are of the model, if there is one.

    `model`: its name, or `str` for a text.
    """
    models: dict[int, str | type[str] | None]
    models = {status: model if status < 400 else "Problem" for status in answers if status not in _BODILESS}  # noqa: PLR2004
    models |= dict.fromkeys(files, FILE)
    responses = {str(status): (answers[status], models.get(status)) for status in sorted(answers)}
    return {"id": name, "responses": responses, **more}


def _file(name: str) -> Documentation:
    """Document a method that answers with a processed file."""
    answers = {
        200: "The processed file. Ranges and conditional requests are understood.",
        206: "The part of the file that Range asked for.",
        304: "The file is the one that If-None-Match names.",
        **_OF_A_JOB,
        404: "No such job, or no result of that name.",
        409: "The job has not ended yet. Try again after Retry-After.",
        410: "The job was cancelled or deleted, or its file is gone.",
        412: "The file is not the one that If-Match names.",
        416: "The range lies outside the file.",
        422: "The job failed, and this is why; or the wait was refused.",
    }
    return _operation(name, answers, files=(200, 206), params=_WAIT, produces=[*_PICTURES, "application/problem+json"])


SUBMIT: Final = {
    "post": _operation(
        "submit",
        {
            200: "Done within the wait: the processed file (of several, the first), for a client whose Accept names "
            "image/… before anything else, or that sends `Prefer: return=representation`. Content-Location: its "
            "address.",
            202: "Accepted, and on disk. Location: the job's status.",
            303: "Done within the wait. Location: the processed file.",
            400: "No picture was sent, or the body is malformed.",
            **_NEEDS_KEY,
            403: "A page of another site, which is not in access.origins, sent this.",
            408: "The upload is too slow.",
            409: "A request with the same Idempotency-Key is under way.",
            411: "A raw body without Content-Length.",
            413: "The upload or the form is too large.",
            415: "Not an accepted picture.",
            422: "Parameters were refused; the Idempotency-Key was used for another request; or the job failed within "
            "the wait.",
            429: "Too many uploads from this key or address. Try again after Retry-After.",
            503: "Too many jobs are waiting, or the volume cannot be used. Try again after Retry-After.",
            507: "The volume is full.",
        },
        model="Submitted",
        files=(200,),
        consumes=["multipart/form-data"],
        produces=["application/json", *_PICTURES, "application/problem+json"],
        params={**_FILES, **resize_parameters("formData"), **_WAIT, **_IDEMPOTENCY_KEY},
    )
}
STATUS: Final = {
    "params": _GUID,
    "get": _operation(
        "status",
        {
            200: "The status of the job. Retry-After until it has ended.",
            **_OF_A_JOB,
            410: "The job was deleted.",
            422: "The wait was refused.",
        },
        model="Status",
        params=_WAIT,
    ),
}
RESULT: Final = {
    "params": _GUID,
    "get": _file("result"),
    "delete": _operation(
        "cancel",
        {
            204: "Cancelled or deleted, now or before.",
            403: "A page of another site sent this.",
            412: "The first result is not the one that If-Match names.",
            **_OF_A_JOB,
        },
    ),
}
NAMED_RESULT: Final = {"params": _GUID | _NAME, "get": _file("named_result")}

LIST: Final = {
    "get": _operation(
        "list",
        {
            200: "A page of jobs, the newest first.",
            400: "The query was refused.",
            **_NEEDS_KEY,
            403: "Jobs are not listed: there are no keys, and access.list is off.",
            503: "The volume cannot be used.",
        },
        model="JobPage",
        params={
            "status": {"in": "query", "type": "string", "enum": [*State], "description": "Only jobs in this state."},
            "since": {
                "in": "query",
                "type": "string",
                "description": "Only jobs that were submitted since; with a `status` of jobs that ended, that have "
                "ended since. A time such as 2026-11-26T04:00:00Z.",
            },
            "limit": {
                "in": "query",
                "type": "integer",
                "minimum": 1,
                "maximum": MOST,
                "default": DEFAULT_LIMIT,
                "description": "Jobs of one page.",
            },
            CURSOR: {"in": "query", "type": "string", "description": "`next` of the page before, to go on from it."},
        },
    )
}
STATS: Final = {
    "get": _operation(
        "stats",
        {200: "Totals only, of all jobs.", **_NEEDS_KEY, 503: "The volume cannot be used."},
        model="Stats",
    )
}

LIMITS: Final = {"get": _operation("limits", {200: "The limits."}, model="Limits")}
HEALTH: Final = {"get": _operation("health", {200: "The API answers."}, model="Health")}
READY: Final = {
    "get": _operation(
        "ready",
        {
            200: "The volume takes writes, and an engine is alive.",
            503: "The volume or the engines are not ready.",
            507: "The volume is full.",
        },
        model="Health",
    )
}
METRICS: Final = {
    "get": _operation(
        "metrics",
        {
            200: "The metrics, in the text format of Prometheus.",
            401: "An API key is required, where the operator has set some.",
        },
        model=str,
        produces=["text/plain", "application/problem+json"],
    )
}
