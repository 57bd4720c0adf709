"""Outcomes of a newer engine: an older API answers with what it understands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from img_contract.job.outcome import Failure, ResultWarning
from img_contract.ports import Claim
from img_contract.volume.layout import Layout

Finish = Callable[..., bytes]

JXL = "image/jxl"


def test_results_of_an_unknown_format_are_answered(client: FlaskClient, job_id: str, finish: Finish) -> None:
    finish(("1w.jxl", JXL, 1, 1), ("2w.jxl", JXL, 2, 2), ("1w", "image/png", 1, 1), ("2w", "image/png", 2, 2))
    status = client.get(f"/resize/status/{job_id}")
    assert status.status_code == 200
    assert [one["media_type"] for one in status.get_json()["outputs"]] == [JXL, JXL, "image/png", "image/png"]
    at = f"/resize/{job_id}"
    assert status.get_json()["sources"] == [
        {"media_type": "image/png", "srcset": f"{at}/1w 1w, {at}/2w 2w"},
        {"media_type": JXL, "srcset": f"{at}/1w.jxl 1w, {at}/2w.jxl 2w"},
    ], "what browsers may not know comes last"
    for address in (at, f"{at}/2w.jxl"):
        answer = client.get(address)
        assert (answer.status_code, answer.content_type) == (200, JXL)
        assert answer.headers["Content-Disposition"].endswith(".jxl")


def test_an_unknown_format_without_a_suffix_is_answered(client: FlaskClient, job_id: str, finish: Finish) -> None:
    finish(("thumb", JXL, 1, 1))
    assert client.get(f"/resize/{job_id}").headers["Content-Disposition"].endswith("image-1x1")
    assert client.get(f"/resize/{job_id}/thumb").status_code == 200


def test_an_unknown_reason_of_a_failure_is_answered(
    client: FlaskClient, job_id: str, claimed: Callable[[], Claim]
) -> None:
    claimed().fail(Failure(code="picture_too_beautiful", detail="expected less, found more"))
    error = client.get(f"/resize/status/{job_id}").get_json()["error"]
    assert (error["code"], error["title"]) == ("picture_too_beautiful", "The picture could not be processed")
    answer = client.get(f"/resize/{job_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "picture_too_beautiful")


@pytest.mark.parametrize("where", ["the outcome", "facts", "outputs", "warnings"])
def test_fields_and_warnings_that_are_unknown_are_passed_over(
    client: FlaskClient, job_id: str, finish: Finish, layout: Layout, where: str
) -> None:
    content = finish()
    path = layout.folder(job_id) / "outcome.json"
    outcome: dict[str, Any] = json.loads(path.read_text())
    outcome["warnings"] = [{"code": "mood_changed", "detail": "it was brighter"}]
    parts = {
        "the outcome": outcome,
        "facts": outcome["facts"],
        "outputs": outcome["outputs"][0],
        "warnings": outcome["warnings"][0],
    }
    parts[where]["new_field"] = {"any": ["thing"]}
    path.write_text(json.dumps(outcome))
    status = client.get(f"/resize/status/{job_id}").get_json()
    assert status["status"] == "done"
    assert [ResultWarning(**warning).code for warning in status["warnings"]] == [
        "mood_changed",
        "larger_than_upload",  # the finished file has 500 bytes
    ]
    assert client.get(f"/resize/{job_id}").data == content


def test_results_of_which_the_facts_are_not_understood_are_answered(
    client: FlaskClient, job_id: str, finish: Finish, layout: Layout
) -> None:
    content = finish(("1w", "image/png", 1, 1), ("2w", "image/png", 2, 2))
    path = layout.folder(job_id) / "outcome.json"
    outcome: dict[str, Any] = json.loads(path.read_text())
    outcome.update(version=2, state="expired", warnings=["dim"])
    outcome["outputs"][0].update(width=None, height=None, frames=None, sha256=None)
    path.write_text(json.dumps(outcome))
    status = client.get(f"/resize/status/{job_id}").get_json()
    assert (status["status"], status["error"], status["srcset"]) == ("done", None, None)
    assert [(one["width"], one["frames"], one["sha256"] == "") for one in status["outputs"]] == [
        (0, 1, True),
        (2, 1, False),
    ]
    answer = client.get(f"/resize/{job_id}")
    assert (answer.status_code, answer.data) == (200, content)
