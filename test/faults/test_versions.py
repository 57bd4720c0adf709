"""Engines and APIs of two versions on one volume: what is newer waits, what is known is served, nothing fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from img_client import Client
from img_contract.testing import until
from img_contract.volume.layout import Layout
from img_testing.service import Service
from img_testing.witness import TINY

pytestmark = pytest.mark.faults

CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda job: job.update(version=2),
    lambda job: job.update(priority=1),
    lambda job: job["resize"].update(denoise=3),
    lambda job: job["resize"].update(width=20000),
    lambda job: job["source"].update(format="jxl", media_type="image/jxl"),
    lambda job: job["resize"].update(format="jxl"),
]


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Write a record as a newer version would; return it as it was."""
    before: dict[str, Any] = json.loads(path.read_text())
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return before


def test_jobs_of_a_newer_api_wait_for_a_newer_engine_and_hold_up_nobody(make_service: Callable[..., Service]) -> None:
    service = make_service()
    service.start_rest()
    layout = Layout(service.volume)
    newer = [service.post(TINY, width=8) for _ in CHANGES]
    files = [layout.folder(job_id) / "job.json" for job_id in newer]
    before = [rewrite(path, change) for path, change in zip(files, CHANGES, strict=True)]
    known = service.post(TINY, width=8)
    engine = service.start_engine()
    assert service.ended(known).attempt == 1
    until(lambda: service.client.health(ready=True).too_new == len(newer), why="readiness does not count them")
    assert {service.status(job_id).status for job_id in newer} == {"queued"}
    assert {service.status(job_id).source.bytes for job_id in newer} == {len(TINY)}
    until(lambda: service.log().count('"job_too_new"') == len(newer), why="they are not logged")
    for path in files:
        assert not [*path.parent.glob("claim.*"), *path.parent.glob("outcome.json")], "it was touched"
    service.kill(engine, 15)
    for path, record in zip(files, before, strict=True):  # as a newer engine would read it
        path.write_text(json.dumps(record))
    service.start_engine()
    assert {(service.ended(job_id).status, service.status(job_id).attempt) for job_id in newer} == {("done", 1)}
    assert service.log().count('"job_too_new"') == len(newer)


def test_an_older_api_shows_what_it_understands_of_a_newer_outcome(make_service: Callable[..., Service]) -> None:
    service = make_service()
    service.start_rest()
    service.start_engine()
    job_id = service.post(TINY, width=8)
    service.ended(job_id)
    whole = service.fetch(job_id)
    folder = Layout(service.volume).folder(job_id)

    def changed(outcome: dict[str, Any]) -> None:
        outcome.update(version=2, carbon={"grams": 1}, warnings=[{"code": "mood_changed", "detail": "x", "why": 1}])
        outcome["facts"]["subject"] = "a fish"
        outcome["outputs"][0].update(media_type="image/jxl", depth=16)

    rewrite(folder / "outcome.json", changed)
    rewrite(folder / "job.json", lambda job: job["source"].update(format="jxl", media_type="image/jxl"))
    with Client(service.url) as client:
        status = client.status(job_id)
        assert (status.status, status.outputs[0].media_type) == ("done", "image/jxl")
        assert status.source
        assert (status.source.format, status.source.bytes) == ("jxl", len(TINY))
        assert status.warnings[0].code == "mood_changed"
        assert client.fetch(job_id) == whole
