"""From pydantic models to Swagger 2.0, which is what Flask-RESTX generates."""

from __future__ import annotations

from typing import Any

from flask_restx import Api
from img_contract.http_models import Health, JobPage, Limits, Problem, Stats, Status, Submitted
from img_contract.job.resize import Resize

FILE = "File"
"""Stands for the model of an answer that is a file."""

_PARAMETER_KEYS = ("type", "description", "enum", "default", "minimum", "maximum", "maxLength")


def register_models(api: Api) -> None:
    """Document the models of all answers, each with those in it written out in place."""
    for model in (
        one for one in (Submitted, Status, JobPage, Stats, Limits, Health, Problem) if one.__name__ not in api.models
    ):
        schema = model.model_json_schema(mode="serialization")
        definitions = schema.pop("$defs", {})
        api.schema_model(model.__name__, _translated(schema, definitions))
    api.schema_model(FILE, {})


def resize_parameters(place: str) -> dict[str, dict[str, Any]]:
    """Return every field of `Resize` as a Swagger parameter. `place`: formData or query."""
    schema = Resize.model_json_schema()
    parameters = {}
    for name, declared in schema["properties"].items():
        flat = _flattened(declared, schema.get("$defs", {}))
        if flat.get("type") not in ("integer", "number", "boolean"):
            flat["type"] = "string"  # lists and objects are written as text, as the description says
        if "minimum" in flat:  # Swagger UI does not show a range by itself
            flat["description"] += f" From {flat['minimum']} to {flat['maximum']}."
        parameters[name] = {"in": place, **{key: flat[key] for key in _PARAMETER_KEYS if flat.get(key) is not None}}
    return parameters


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Add to the document of Flask-RESTX what applies to every route, and remove what applies to none."""
    answers = {
        "400": "The request is malformed.",
        "431": "The request's line and headers are too large.",
    }
    problem = {"$ref": "#/definitions/Problem"}
    document["definitions"].pop(FILE, None)
    for operations in document["paths"].values():
        for operation in (one for method, one in operations.items() if method != "parameters"):
            for status, description in answers.items():
                operation["responses"].setdefault(status, {"description": description, "schema": problem})
            for status, response in operation["responses"].items():
                if response.get("schema") == {"$ref": f"#/definitions/{FILE}"}:
                    response["schema"] = {"type": "file"}  # which Swagger 2.0 allows nowhere else
                if headers := {name: header for name, (header, places) in _HEADERS.items() if status in places}:
                    response["headers"] = {name: dict(header) for name, header in headers.items()}
    produces = ["application/json", "application/problem+json"]
    return {key: value for key, value in document.items() if key not in ("consumes", "responses")} | {
        "produces": produces
    }


_HEADERS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "Location": ({"type": "string", "description": "The address to continue at."}, ("202", "303")),
    "Retry-After": ({"type": "integer", "description": "Seconds."}, ("202", "429", "503", "507")),
    "WWW-Authenticate": ({"type": "string", "description": "How to send a key."}, ("401",)),
    "ETag": ({"type": "string", "description": "The SHA-256 of the file."}, ("206", "304")),
    "Content-Range": ({"type": "string", "description": "Which part of how many bytes."}, ("206", "416")),
}
"""Headers, each with the statuses whose answers all have it."""


def _flattened(declared: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a property without references and without `null`, which no parameter can be; several types: string."""
    flat = {key: value for key, value in declared.items() if key not in ("anyOf", "$ref", "allOf")}
    parts = [part for part in _alternatives(declared, definitions) if part.get("type") != "null"]
    kinds = {part["type"] for part in parts if "type" in part}
    for part in parts:
        flat |= {key: value for key, value in part.items() if key not in ("title", "description", "default")}
    if len(kinds) > 1:
        return {key: value for key, value in flat.items() if key not in ("minimum", "maximum")} | {"type": "string"}
    return flat


def _alternatives(declared: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas that a property may have, with references followed."""
    found = []
    for part in [*declared.get("anyOf", []), *declared.get("allOf", []), {"$ref": declared.get("$ref")}]:
        if "anyOf" in part:
            found += _alternatives(part, definitions)
        elif part.get("$ref"):
            found.append(definitions[part["$ref"].rpartition("/")[2]])
        elif "$ref" not in part:
            found.append(part)
    return found


def _translated(schema: Any, definitions: dict[str, Any]) -> Any:
    """Translate JSON Schema 2020-12 to Swagger 2.0: no null type, and no $ref that might have no target."""
    if isinstance(schema, list):
        return [_translated(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _translated(definitions[schema["$ref"].rpartition("/")[2]] | rest, definitions)
    if "anyOf" in schema:
        kind = next(kind for kind in schema["anyOf"] if kind.get("type") != "null")
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        nullable = {"x-nullable": True} if {"type": "null"} in schema["anyOf"] else {}
        return _translated(kind | rest, definitions) | nullable
    return {key: _translated(value, definitions) for key, value in schema.items()}
