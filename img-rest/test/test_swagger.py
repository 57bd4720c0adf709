"""The Swagger document: complete, and true to the answers."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.job.resize import Resize
from jsonschema import Draft4Validator


@pytest.fixture
def document(client: FlaskClient) -> Any:
    return client.get("/swagger.json").get_json()


def test_every_parameter_has_type_range_default_and_meaning(document: Any) -> None:
    operation = document["paths"]["/resize"]["post"]
    parameters = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert set(parameters) == {"file", "watermark", "wait", "Idempotency-Key", *Resize.model_fields}
    assert operation["consumes"] == ["multipart/form-data"]
    for parameter in parameters.values():
        assert parameter["description"]
        assert parameter["type"] in ("file", "integer", "number", "string", "boolean")
    assert parameters["file"]["required"] is True
    assert parameters["width"]["type"] == "string"  # a number, or a percentage
    assert "1 to 16384" in parameters["width"]["description"]
    assert parameters["trim"]["type"] == "integer"
    assert parameters["trim"]["description"].endswith("From 0 to 255.")
    assert parameters["fit"]["enum"] == ["inside", "outside", "cover", "contain", "fill"]
    assert parameters["fit"]["default"] == "inside"
    assert len(parameters["gravity"]["enum"]) == 10
    assert len(parameters["watermark_gravity"]["enum"]) == 9
    assert parameters["rotate"]["enum"] == [0, 90, 180, 270]
    assert parameters["variants"]["type"] == parameters["crop"]["type"] == "string"
    assert parameters["enlarge"]["default"] is False
    assert parameters["format"]["enum"] == ["jpeg", "png", "webp", "gif", "avif", "tiff", "auto"]
    assert (parameters["quality"]["minimum"], parameters["quality"]["maximum"]) == (1, 100)
    assert parameters["wait"]["in"] == "query"


def test_every_answer_is_documented_and_every_error_is_a_problem(document: Any) -> None:
    for route, operations in document["paths"].items():
        for method in set(operations) & {"get", "post", "delete"}:
            responses = operations[method]["responses"]
            assert operations[method]["summary"], (route, method)
            for code, response in responses.items():
                assert response["description"], (route, method, code)
                assert ("schema" in response) == (code not in ("204", "304")), (route, method, code)
                if int(code) >= 400:
                    assert response["schema"] == {"$ref": "#/definitions/Problem"}, (route, method, code)


def test_the_document_has_only_what_swagger_2_knows(document: Any) -> None:
    text = str(document)
    for word in ("anyOf", "$defs", "'null'", "prefixItems", "const"):
        assert word not in text, word


def test_answers_match_their_models(client: FlaskClient, document: Any, png: bytes, finish: Any) -> None:
    def check(name: str, body: Any) -> None:
        Draft4Validator(_nullable(document["definitions"][name])).validate(body)

    posted = client.post("/resize?width=5", data=png).get_json()
    check("Submitted", posted)
    check("Status", client.get(posted["links"]["status"]).get_json())
    finish()
    check("Status", client.get(posted["links"]["status"]).get_json())
    check("Limits", client.get("/limits").get_json())
    check("Health", client.get("/health").get_json())
    check("Problem", client.post("/resize").get_json())
    check("Problem", client.post("/resize?width=0", data=png).get_json())


def _nullable(schema: Any) -> Any:
    """Swagger's x-nullable in words that JSON Schema knows."""
    if isinstance(schema, list):
        return [_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _nullable(value) for key, value in schema.items() if key != "x-nullable"}
    return {"anyOf": [inner, {"type": "null"}]} if schema.get("x-nullable") else inner


def test_every_route_documents_what_applies_to_all_and_nothing_that_applies_to_none(document: Any) -> None:
    assert "responses" not in document
    assert "consumes" not in document
    for operations in document["paths"].values():
        for method in set(operations) & {"get", "post", "delete"}:
            assert {"400", "431"} <= set(operations[method]["responses"])
    answers = document["paths"]["/resize"]["post"]["responses"]
    assert set(answers["202"]["headers"]) == {"Location", "Retry-After"}
    assert set(answers["503"]["headers"]) == {"Retry-After"}


def test_a_file_is_a_file_to_clients_that_are_generated(document: Any) -> None:
    for path in ("/resize/{guid}", "/resize/{guid}/{name}"):
        answers = document["paths"][path]["get"]["responses"]
        assert answers["200"]["schema"] == answers["206"]["schema"] == {"type": "file"}
    answers = document["paths"]["/resize"]["post"]["responses"]
    assert answers["200"]["schema"] == {"type": "file"}
    assert answers["202"]["schema"] == answers["303"]["schema"] == {"$ref": "#/definitions/Submitted"}
    assert "File" not in document["definitions"]


def test_the_document_is_that_of_the_address_it_was_asked_at(client: FlaskClient) -> None:
    for host in ("localhost:8081", "img.example"):
        document = client.get("/swagger.json", headers={"Host": host}).get_json()
        assert f"'http://{host}/resize?width=800'" in document["info"]["description"]
        assert document["basePath"] == "/"


def test_the_page_is_as_wide_as_the_screen_it_is_on(client: FlaskClient) -> None:
    assert b'<meta name="viewport" content="width=device-width">' in client.get("/").data
