"""`Expect: 100-continue`: what is refused for its headers is refused before its body is sent (RFC 9110, 10.1.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from img_testing.raw_http import request, talk
from img_testing.service import Service

pytestmark = pytest.mark.python_independent


def test_an_upload_that_its_headers_rule_out_is_never_asked_for(make_service: Callable[..., Service]) -> None:
    service = make_service(IMG_LIMITS__UPLOAD_BYTES="3000000")
    service.start_rest()
    form = "Content-Type: multipart/form-data; boundary=b"
    for status, target, length, *headers in (
        (413, "/resize?width=5", 9000000, form),
        (413, "/resize?width=5", 9000000, "Content-Type: image/png"),
        (413, "/resize?width=5", 3000001, "Content-Type: image/png"),
        (422, "/resize?width=abc", 2000000, "Content-Type: image/png"),
        (422, "/resize", 2000000, "Content-Type: image/png"),
        (422, "/resize?wdith=5", 2000000, form),
        (403, "/resize?width=5", 2000, "Sec-Fetch-Site: cross-site"),
        (404, "/resized?width=5", 2000),
    ):
        head = request("POST", target, f"Content-Length: {length}", "Expect: 100-continue", *headers)
        assert [answer.status for answer in talk(service.port, head).answers] == [status], (target, headers)
    allowed = request(
        "POST", "/resize?width=5", "Content-Type: image/png", "Content-Length: 2000000", "Expect: 100-continue"
    )
    assert talk(service.port, allowed, seconds=2).answers[0].status == 100
    of_form = request("POST", "/resize?quality=5", form, "Content-Length: 2000000", "Expect: 100-continue")
    assert talk(service.port, of_form, seconds=2).answers[0].status == 100
