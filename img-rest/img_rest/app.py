"""The Flask application, built from parts that are handed to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Flask, request
from img_contract.config import Config
from img_contract.notify.zmq_pair import Notifier
from img_contract.ports import JobStore

from img_rest.admission import access
from img_rest.admission.backlog import Backlog
from img_rest.api import jobs as _jobs_api  # noqa: F401  importing adds their routes to the API
from img_rest.api import problems
from img_rest.api import restx as api
from img_rest.api import service as _service_api  # noqa: F401
from img_rest.requests import headers
from img_rest.requests.conditions import drop_unreadable_dates
from img_rest.requests.upload import drain_refused
from img_rest.waiting import LongPolls, UploadPlaces

_DRAINING: Final = 32
"""So many refused uploads are read to their end at the same time; the connection of a further one is closed."""


def create_app(
    config: Config, store: JobStore, notifier: Notifier, stopping: Callable[[], bool] = lambda: False
) -> Flask:
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
        store,
        notifier,
        LongPolls(store, config.http.long_polls, stopping),
        uploads,
        Backlog(store, config.limits),
    )
    app.before_request(lambda: drop_unreadable_dates(request.environ))
    headers.register(app, config.limits)
    access.guard(app, config.access)
    app.after_request(lambda response: drain_refused(response, draining, config.limits))
    app.register_blueprint(api.blueprint)
    problems.register(app)
    return app
