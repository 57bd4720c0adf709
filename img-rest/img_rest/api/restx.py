"""The Flask-RESTX API, and what its resources share."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask, Response, request
from flask_restx import Api, Resource
from flask_restx.apidoc import ui_for
from pydantic import BaseModel

from img_rest.admission.access import HEADER
from img_rest.api.swagger import completed, register_models
from img_rest.services import Services

_KEYS: Final = {
    "key": {"type": "apiKey", "in": "header", "name": HEADER, "description": "The key that you were given."}
}

_DESCRIPTION: Final = (
    "Post a picture and get a guid at once; ask for the status of the job; fetch the processed file. "
    "Without programming: [the page for people]({path}/app). "
    "**Try it:** open `POST /resize` below, press *Try it out*, choose a file, set a width, and press *Execute*.\n\n"
    "A program may also send the picture itself as the body, with the parameters in the query: "
    "`curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' '{root}resize?width=800'`.\n\n"
    "Every error is an `application/problem+json` (RFC 9457) whose `code` is for programs and whose `detail` says "
    "what was expected and what was found."
)


class _ProblemApi(Api):
    """Flask-RESTX with its error handling left to the application, whose errors are all problems."""

    def error_router(self, original_handler: Any, error: Exception) -> Any:
        return original_handler(error)

    @property
    def __schema__(self) -> Any:
        register_models(self)  # here, as it takes longer than all else that happens at the start
        document = completed(super().__schema__)  # of which it makes one, with the addresses of its first request
        info = document["info"] | {"description": _DESCRIPTION.format(root=request.url_root, path=request.script_root)}
        return document | {"basePath": request.script_root or "/", "info": info}

    def page(self) -> str:
        """Return the page of Swagger UI, which by itself is as wide as a desk's screen, also on a phone."""
        html: str = ui_for(self)
        return html.replace("<head>", '<head>\n    <meta name="viewport" content="width=device-width">', 1)


class ServiceResource(Resource):
    """A resource that is given the services."""

    def __init__(self, api: Api, services: Services) -> None:
        super().__init__(api)
        self.services = services


def create_api(app: Flask, *, with_keys: bool) -> Api:
    """Add an API without routes to an application, with Swagger UI at /."""
    api = _ProblemApi(
        app,
        version="1",
        title="Picture resizing in the background",
        description=_DESCRIPTION,
        authorizations=_KEYS if with_keys else None,
        security="key" if with_keys else None,
        default="resize",
        default_label="Resize a picture",
        validate=False,
    )
    api.documentation(api.page)
    return api


def json_answer(body: BaseModel, status: int = 200, *, exclude_none: bool = False) -> Response:
    """Return a model as the answer."""
    text = body.model_dump_json(exclude_none=exclude_none)
    return Response(f"{text}\n", status=status, content_type="application/json")
