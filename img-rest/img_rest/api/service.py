"""The routes of the service itself: what it accepts, and how it is."""

from __future__ import annotations

from flask_restx import Resource
from img_contract.http_models import Health, Limits
from werkzeug.wrappers import Response as AnyResponse

from img_rest.api.representations import limits_of
from img_rest.api.restx import api, json_answer, parts, problem_model
from img_rest.api.swagger import register_model
from img_rest.errors import NoEngine

service = api.namespace("service", path="/", description="What is accepted, and how the service is")

_limits = register_model(api, Limits)
_health = register_model(api, Health)


@service.route("/limits")
class LimitsOfTheService(Resource):
    """What is accepted."""

    @api.doc(id="limits")
    @api.response(200, "The limits.", _limits)
    def get(self) -> AnyResponse:
        """Ask what is accepted, and where refusals begin."""
        return json_answer(limits_of(parts().config))


@service.route("/health")
class Alive(Resource):
    """Liveness."""

    @api.doc(id="health")
    @api.response(200, "The API answers.", _health)
    def get(self) -> AnyResponse:
        """Ask whether the API is alive."""
        return json_answer(Health())


@service.route("/health/ready")
class Ready(Resource):
    """Readiness."""

    @api.doc(id="ready")
    @api.response(200, "The volume takes writes, and an engine is alive.", _health)
    @api.response(503, "One of them is not so.", problem_model)
    @api.response(507, "The volume is full.", problem_model)
    def get(self) -> AnyResponse:
        """Ask whether jobs are taken and worked on."""
        found = parts()
        engines = found.jobs.engines()
        if not engines:
            raise NoEngine(
                "expected an engine that was alive within the last 30 seconds, found none; jobs wait for one"
            )
        found.backlog.check()
        return json_answer(Health(engines=len(engines)))
