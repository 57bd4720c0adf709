"""`Expect: 100-continue`: an upload that is too large is refused before a byte of it is sent (RFC 9110, 10.1.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from img_testing.raw_http import request, talk
from img_testing.service import Service

pytestmark = pytest.mark.python_independent


def test_an_upload_that_is_announced_and_too_large_is_never_asked_for(make_service: Callable[..., Service]) -> None:
    service = make_service(IMG_LIMITS__UPLOAD_BYTES="3000000")
    service.start_rest()
    for kind in ("image/png", "multipart/form-data; boundary=b"):
        head = request(
            "POST", "/resize?width=5", f"Content-Type: {kind}", "Content-Length: 9000000", "Expect: 100-continue"
        )
        assert [answer.status for answer in talk(service.port, head).answers] == [413]
    allowed = request(
        "POST", "/resize?width=5", "Content-Type: image/png", "Content-Length: 2000000", "Expect: 100-continue"
    )
    assert talk(service.port, allowed, seconds=2).answers[0].status == 100
