"""The Flask application, built from parts that are handed to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Flask, request
from img_contract.config import Config
from img_contract.ports import Jobs

from img_rest.admission import access
from img_rest.admission.backlog import Backlog
from img_rest.admission.places import UploadPlaces
from img_rest.api import jobs as _jobs_api  # noqa: F401  importing adds their routes to the API
from img_rest.api import problems
from img_rest.api import restx as api
from img_rest.api import service as _service_api  # noqa: F401
from img_rest.requests import headers
from img_rest.requests.conditions import drop_unreadable_dates
from img_rest.requests.upload import drain_refused
from img_rest.waiting import LongPolls

_DRAINING: Final = 32
"""So many refused uploads are read to their end at the same time; the connection of a further one is closed."""


def create_app(config: Config, jobs: Jobs, stopping: Callable[[], bool] = lambda: False) -> Flask:
    """Build the application. `stopping` tells those who wait that the service is about to end."""
    app = Flask("img_rest", static_folder=None)
    app.config.update(
        RESTX_MASK_SWAGGER=False,
        SWAGGER_UI_DOC_EXPANSION="list",  # a newcomer sees the calls at once
        SWAGGER_UI_REQUEST_DURATION=True,
    )
    uploads = UploadPlaces(config.http.uploads)
    draining = UploadPlaces(_DRAINING)  # not those of uploads: who has no key must not take the places of who has
    app.extensions[api.SEGMENT] = api.Parts(
        config,
        jobs,
        LongPolls(jobs, config.http.long_polls, stopping),
        uploads,
        Backlog(jobs, config.limits),
    )
    app.before_request(lambda: drop_unreadable_dates(request.environ))
    headers.register(app, config.limits)
    access.guard(app, config.access)
    app.after_request(lambda response: drain_refused(response, draining, config.limits))
    app.register_blueprint(api.blueprint)
    problems.register(app)
    return app
