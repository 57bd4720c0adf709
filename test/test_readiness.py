"""What the log has of a probe that asks every second."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from img_client import ImgError
from img_contract.testing import until
from img_testing.service import Service

pytestmark = pytest.mark.python_independent


def test_readiness_is_logged_when_it_changes(make_service: Callable[..., Service]) -> None:
    service = make_service()
    service.start_rest()

    def logged() -> list[str]:
        lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
        return [line["code"] for line in lines if "code" in line]

    for _ in range(3):
        with pytest.raises(ImgError, match="expected an engine"):
            service.client.health(ready=True)
    service.start_engine()
    for _ in range(3):
        service.client.health(ready=True)
    with pytest.raises(ImgError):
        service.status("nothing")  # the last line
    until(lambda: "job_unknown" in logged())
    assert logged() == ["no_engine", "ok", "job_unknown"]
