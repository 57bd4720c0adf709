"""The routes by which the service is seen: its jobs, and how it does."""

from __future__ import annotations

from flask import request
from flask_restx import Api
from werkzeug.wrappers import Response as AnyResponse

from img_rest import use_cases
from img_rest.admission.access import current_key
from img_rest.api import documentation
from img_rest.api.representations import page_of, stats_of
from img_rest.api.restx import ServiceResource, json_answer
from img_rest.requests.listing import parse_listing
from img_rest.services import Services


def add_overview_routes(api: Api, services: Services) -> None:
    """Add the routes to an API."""
    namespace = api.namespace("overview", path="/", description="What waits, what ended and how")
    for resource, path, documented in (
        (JobsPage, "/jobs", documentation.LIST),
        (Totals, "/stats", documentation.STATS),
    ):
        namespace.add_resource(resource, path, route_doc=documented, resource_class_kwargs={"services": services})


class JobsPage(ServiceResource):
    """The jobs of the client, or all where there are no keys."""

    def get(self) -> AnyResponse:
        """List jobs, the newest first; with a status of jobs that ended, the last to end first."""
        use_cases.check_listing(self.services)
        query, limit, cursor = parse_listing(request.args.items(multi=True), current_key())
        page = use_cases.list_jobs(self.services, query, limit, cursor)
        response = json_answer(page_of(page, request.script_root))
        response.headers["Cache-Control"] = "no-store"
        return response


class Totals(ServiceResource):
    """How the service does."""

    def get(self) -> AnyResponse:
        """Ask what waits, who works, and what came of the jobs of the last hour."""
        response = json_answer(stats_of(self.services.jobs.stats()))
        response.headers["Cache-Control"] = "no-store"
        return response
