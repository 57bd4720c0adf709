"""The routes of the service itself: what it accepts, and how it is."""

from __future__ import annotations

from flask import Response
from flask_restx import Api
from img_contract.errors import StoreError
from img_contract.http_models import Health
from werkzeug.wrappers import Response as AnyResponse

from img_rest.admission.readiness import READY
from img_rest.api import documentation
from img_rest.api.problems import problem_of
from img_rest.api.representations import limits_of
from img_rest.api.restx import ServiceResource, json_answer
from img_rest.errors import RestError
from img_rest.exposition import MEDIA_TYPE
from img_rest.services import Services
from img_rest.use_cases import check_readiness


def add_service_routes(api: Api, services: Services) -> None:
    """Add the routes of the service to an API."""
    metrics = [(Metrics, "/metrics", documentation.METRICS)] if services.config.access.metrics != "off" else []
    namespace = api.namespace("service", path="/", description="What is accepted, and how the service is")
    for resource, path, documented in (
        (Limits, "/limits", documentation.LIMITS),
        (Alive, "/health", documentation.HEALTH),
        (Ready, "/health/ready", documentation.READY),
        *metrics,
    ):
        namespace.add_resource(resource, path, route_doc=documented, resource_class_kwargs={"services": services})


class Limits(ServiceResource):
    """What is accepted."""

    def get(self) -> AnyResponse:
        """Ask what is accepted, and where refusals begin."""
        return _fresh(json_answer(limits_of(self.services.config)))


class Alive(ServiceResource):
    """Liveness."""

    def get(self) -> AnyResponse:
        """Ask whether the API is alive."""
        return _fresh(json_answer(Health(), exclude_none=True))


class Ready(ServiceResource):
    """Readiness."""

    def get(self) -> AnyResponse:
        """Ask whether jobs are accepted and worked on."""
        try:
            engines = check_readiness(self.services)
        except (RestError, StoreError) as error:
            response = problem_of(error, logged=False, in_full=True)
            self.services.readiness.note(response.get_json()["code"], str(error))
            return response
        self.services.readiness.note(READY)
        return _fresh(json_answer(Health(engines=engines, too_new=self.services.jobs.too_new())))


class Metrics(ServiceResource):
    """Counts, for Prometheus."""

    def get(self) -> AnyResponse:
        """Scrape what this service and its engines have counted."""
        return _fresh(Response(self.services.exposition.text(), content_type=MEDIA_TYPE))


def _fresh(response: Response) -> Response:
    """Tell caches to keep nothing of it."""
    response.headers["Cache-Control"] = "no-store"
    return response
