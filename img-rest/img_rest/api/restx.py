"""The API as Flask-RESTX sees it, and what all routes share. The routes are in `jobs_api` and `service_api`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, current_app
from flask_restx import Api
from img_contract.config import Config
from img_contract.http_models import Problem
from img_contract.ports import Jobs
from pydantic import BaseModel

from img_rest.admission import access
from img_rest.admission.backlog import Backlog
from img_rest.admission.places import UploadPlaces
from img_rest.api.swagger import completed, register_model
from img_rest.waiting import LongPolls

SEGMENT: Final = "img_rest"
"""The key of this package's parts in `app.extensions`."""


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    config: Config
    jobs: Jobs
    long_polls: LongPolls
    uploads: UploadPlaces
    backlog: Backlog


class _ProblemApi(Api):
    """Flask-RESTX with its error handling left to the application, whose errors are all problems."""

    def error_router(self, original_handler: Any, error: Exception) -> Any:
        return original_handler(error)

    @property
    def __schema__(self) -> Any:
        more = access.SWAGGER if parts().config.access.keys else {}
        return completed(super().__schema__) | more


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

problem_model = register_model(api, Problem)


def parts() -> Parts:
    """The parts of the application that serves this request."""
    found: Parts = current_app.extensions[SEGMENT]
    return found


def json_answer(body: BaseModel, status: int = 200) -> Response:
    """A model as the answer."""
    return Response(body.model_dump_json() + "\n", status=status, content_type="application/json")
