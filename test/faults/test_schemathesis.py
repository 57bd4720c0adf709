"""The API fuzzed from its own Swagger document, over the wire: whatever is sent, it answers as the document says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from img_contract.job.resize import Resize
from img_testing.raw_http import crashes
from img_testing.service import Service
from img_testing.web import web
from img_testing.witness import TINY, Row, rounds
from schemathesis import Case, CheckContext, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

pytestmark = pytest.mark.faults


def content_type_of_what_there_is(context: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """Swagger 2.0 says what an operation produces, not which of its answers have no body: 204, 303, 304."""
    return content_type_conformance(context, response, case) if response.content else None


CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_of_what_there_is,
    response_schema_conformance,
    response_headers_conformance,
    allow_header_conformance,
    unsupported_method,
]
OPERATIONS: Final = (
    ("POST", "/resize"),
    ("GET", "/resize/status/{guid}"),
    ("GET", "/resize/{guid}"),
    ("GET", "/resize/{guid}/{name}"),
    ("DELETE", "/resize/{guid}"),
    ("GET", "/jobs"),
    ("GET", "/stats"),
    ("GET", "/metrics"),
    ("GET", "/limits"),
    ("GET", "/health"),
    ("GET", "/health/ready"),
)
HEADERS: Final = st.fixed_dictionaries(
    {},
    optional={
        "Range": st.sampled_from(["bytes=0-4", "bytes=-3", "bytes=99999-", "bytes=5-1", "bytes=0-1,3-4",
        "lines=1-2", "x"]),
        "If-None-Match": st.sampled_from(["*", '"x"', 'W/"x"', "x", ",,"]),
        "If-Match": st.sampled_from(["*", '"x"', "x"]),
        "If-Modified-Since": st.sampled_from(["Tue, 24 Nov 2099 00:00:00 GMT", "0", "Mon, 01 Jan 99999 00:00:00 GMT"]),
        "If-Range": st.sampled_from(['"x"', "Tue, 24 Nov 2099 00:00:00 GMT", "x"]),
        "Accept": st.sampled_from(["image/webp", "text/html", "*/*;q=0", "x", ","]),
        "Prefer": st.sampled_from(["wait=0", "wait=9", "wait=x", "respond-async"]),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def service(standing: Callable[..., Service]) -> Iterator[Service]:
    running = standing(
        IMG_HTTP__WAIT_SECONDS="0.1",
        IMG_LIMITS__QUEUE="1000000",
        IMG_HTTP__IDLE_SECONDS="60",
        IMG_ACCESS__LIST="true",
    )
    running.start_rest()
    running.start_engine()
    yield running
    assert crashes(running) == []


@pytest.fixture(scope="module")
def guids(service: Service) -> list[str]:
    """Jobs in every state but `queued`, whose answers would change, and one that never was."""

    done, many, failed, gone, cancelled = (
        service.post(TINY, width=5),
        service.post(TINY, variants="a:5w,b:6w"),
        service.post(TINY[:60], width=5),
        service.post(TINY, width=5),
        service.post(TINY, width=5),
    )
    for job in (done, many, failed, gone):
        service.ended(job)
    for job in (gone, cancelled):
        service.client.cancel(job)
    return [done, many, failed, gone, cancelled, "0" * 8 + done[8:]]


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_it_answers_as_its_document_says(
    service: Service, guids: list[str], method: str, path: str, row: Callable[[str], Row]
) -> None:
    document = schemathesis.openapi.from_url(f"{service.url}/swagger.json")
    operation = document[path][method]
    known, seen = cycle(guids), Counter[int]()
    turn = cycle(range(4))

    @settings(
        max_examples=rounds(120 if "{" in path or path in ("/resize", "/jobs") else 10, 2000),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(
        case=operation.as_strategy(),
        headers=HEADERS,
        width=st.integers(1, 40),
        named=st.sampled_from(["a", "b", "image.png"]),
    )
    def fuzz(case: Case[Any], headers: dict[str, str], width: int, named: str) -> None:
        kind = next(turn)
        if "guid" in (case.path_parameters or {}) and kind:
            case.path_parameters["guid"] = next(known)
            if "name" in case.path_parameters and kind > 1:
                case.path_parameters["name"] = named
        if isinstance(case.body, dict) and kind:  # else whatever was made up
            body: dict[str, Any] = case.body
            body["file"] = TINY
            if kind > 1:
                for name in {"width", "height", "variants", "crop"} & set(case.body):
                    del case.body[name]
                case.body["width"] = width
        if kind == 3:
            case.query = {}
            case.headers.clear()
        answer = case.call_and_validate(checks=CHECKS, headers=headers, timeout=30)
        seen[answer.status_code] += 1

    fuzz()
    row(f"fuzzed {method} {path}").add(rounds=seen.total(), remark=str(dict(sorted(seen.items()))))
    assert seen
    if path == "/resize/{guid}" and method == "GET":
        assert {200, 404, 410, 422} <= set(seen), seen
    if method == "POST":
        assert {202, 415, 422} & set(seen), seen


def test_the_document_tells_every_route_and_parameter(service: Service) -> None:
    document = web.get(f"{service.url}/swagger.json", timeout=30).json()
    told = {
        (method.upper(), path) for path, ones in document["paths"].items() for method in ones if method != "parameters"
    }
    assert told == set(OPERATIONS)
    names = {one["name"] for one in document["paths"]["/resize"]["post"]["parameters"]}
    assert set(Resize.model_fields) <= names


def test_a_raw_upload_is_answered_as_the_document_says(service: Service) -> None:
    """The document has the form; the picture itself as the body has the same answers."""
    document = web.get(f"{service.url}/swagger.json", timeout=30).json()
    told = set(document["paths"]["/resize"]["post"]["responses"])
    for query in ("width=5", "width=0", "", "x=1", "width=5&wait=0.1", "width=5&wait=9"):
        for body in (TINY, b"", b"text"):
            answer = web.post(f"{service.url}/resize?{query}", content=body, timeout=30)
            assert str(answer.status_code) in told
