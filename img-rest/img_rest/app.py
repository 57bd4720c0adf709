"""The Flask application, built over a backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, request
from img_contract.config import Config
from img_contract.ports import Jobs

from img_rest import metrics
from img_rest.admission import access, origins
from img_rest.admission.backlog import Backlog
from img_rest.admission.places import UploadPlaces
from img_rest.api import problems
from img_rest.api.jobs import add_job_routes
from img_rest.api.overview import add_overview_routes
from img_rest.api.restx import create_api
from img_rest.api.service import add_service_routes
from img_rest.exposition import Exposition
from img_rest.metrics import RestMetrics
from img_rest.page.routes import add_page_routes
from img_rest.requests import headers
from img_rest.requests.conditions import tidy_conditions
from img_rest.requests.prefix import drop_host, under_prefix
from img_rest.services import Services
from img_rest.waiting import LongPolls


class _Application(Flask):
    """An application whose functions are all synchronous: Flask asks each of them at every call."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(
    config: Config, jobs: Jobs, stopping: Callable[[], bool] = lambda: False, counts: RestMetrics | None = None
) -> Flask:
    """Build the application. `stopping` returns whether the service is about to stop, so that nobody waits longer.

    `counts` has what `configure_logs` counts.
    """
    app = _Application("img_rest", static_folder=None)
    app.url_map.strict_slashes = False  # a slash at the end of an address changes nothing
    app.config.update(
        RESTX_MASK_SWAGGER=False,
        SWAGGER_UI_DOC_EXPANSION="list",  # a newcomer sees the calls at once
        SWAGGER_UI_REQUEST_DURATION=True,
    )
    counts = counts or RestMetrics()
    long_polls = LongPolls(jobs, config.http.long_polls, stopping)
    metrics.register(app, counts, long_polls.waited)
    app.wsgi_app = under_prefix(app.wsgi_app, config.http.prefix)  # type: ignore[method-assign]
    app.before_request(lambda: tidy_conditions(request.environ))
    app.after_request(drop_host)
    headers.register(app, config.limits)
    origins.register(app, config.access.origins)
    access.guard(app, config.access)
    services = Services(
        config,
        jobs,
        Backlog(jobs, config.limits),
        UploadPlaces(config.http.uploads),
        long_polls,
        Exposition(counts, jobs),
    )
    api = create_api(app, with_keys=bool(config.access.keys))
    add_job_routes(api, services)
    add_overview_routes(api, services)
    add_service_routes(api, services)
    add_page_routes(app, config.store)
    problems.register(app, config.limits)
    return app
