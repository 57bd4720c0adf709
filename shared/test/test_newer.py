"""Jobs of a newer version are left, untouched, for an engine that understands them; damaged ones fail.

Of an outcome of a newer version is told what is understood.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.errors import StoreError
from img_contract.job.job import Job, now
from img_contract.job.newer import JobOutline, is_newer
from img_contract.job.outcome import Failure, FailureCode, State
from img_contract.job.resize import Resize
from img_contract.notify.memory import MemoryNotifier
from img_contract.ports import IdempotencyKey
from img_contract.records import parse_outcome
from img_contract.testing import ManualClock
from img_contract.volume import queue
from img_contract.volume.layout import Layout
from img_contract.volume.queue import VolumeWork
from img_contract.volume.store import VolumeJobs
from structlog.testing import capture_logs

NOW = now()
JPEG_HEAD = b"\xff\xd8\xff\xe0" + bytes(60)

Change = Callable[[dict[str, Any]], object]

NEWER: dict[str, Change] = {
    "version 2": lambda job: job.update(version=2),
    "version 2 with another shape": lambda job: job.update(version=2, source=["many"], resize=None),
    "a field": lambda job: job.update(priority=1),
    "a parameter": lambda job: job["resize"].update(denoise=2),
    "a fact of the upload": lambda job: job["source"].update(sha256="0" * 64),
    "a format of the upload": lambda job: job["source"].update(format="jxl", media_type="image/jxl"),
    "a format of the result": lambda job: job["resize"].update(format="jxl"),
    "a format that the client accepts": lambda job: job.update(accept=["jxl"]),
    "a value of a parameter": lambda job: job["resize"].update(fit="liquid"),
    "a wider bound": lambda job: job["resize"].update(width=20000),
    "a value below a bound": lambda job: job["resize"].update(quality=0),
    "a word for a number": lambda job: job["resize"].update(quality="auto"),
    "a unit": lambda job: job["resize"].update(width="10vw"),
    "a word for a colour": lambda job: job["resize"].update(background="dominant"),
    "a word for a crop": lambda job: job["resize"].update(crop="smart"),
    "a crop in percent": lambda job: job["resize"].update(crop={"x": "10%", "y": 0, "width": "50%", "height": "50%"}),
    "more variants": lambda job: job["resize"].update(variants=[{"name": f"v{n}", "width": 1} for n in range(17)]),
    "no size": lambda job: job["resize"].pop("width"),
    "a parameter and a wider bound": lambda job: job["resize"].update(denoise=2, effort=11),
    "a field and a wider bound": lambda job: (job.update(future=1), job["resize"].update(blur=300)),
    "an owner that is an object": lambda job: job.update(owner={"name": "a"}),
    "a watermark of another shape": lambda job: job.update(watermark=["one", "two"]),
    "a field of a variant": lambda job: job["resize"].update(variants=[{"name": "a", "width": 1, "blur": 3}]),
}
DAMAGED: dict[str, Change] = {
    "no version": lambda job: job.pop("version"),
    "a version that is none": lambda job: job.update(version="2"),
    "an old version": lambda job: job.update(version=0),
    "another's id": lambda job: job.update(id="00000000-0000-4000-8000-000000000000"),
    "another's id and version 2": lambda job: job.update(id="00000000-0000-4000-8000-000000000000", version=2),
    "no time": lambda job: job.pop("submitted_at"),
    "nothing asked": lambda job: job.pop("resize"),
    "something asked that is no object": lambda job: job.update(resize="smaller"),
    "fewer bytes than none": lambda job: job["source"].update(bytes=-1),
    "a wrong type": lambda job: job["source"].update(bytes="many"),
    "a wrong type beside a new field": lambda job: job.update(priority=1, source="picture"),
    "no upload": lambda job: job.pop("source"),
}


@pytest.fixture
def jobs(layout: Layout) -> VolumeJobs:
    return VolumeJobs(layout, MemoryNotifier())


@pytest.fixture
def engine(layout: Layout) -> VolumeWork:
    return VolumeWork(layout, MemoryNotifier(), "engine", clock=ManualClock())


def submit(jobs: VolumeJobs, key: IdempotencyKey | None = None) -> Job:
    with jobs.begin(key) as submission:
        submission.picture.write(JPEG_HEAD)
        return submission.commit(filename="photo.jpg", resize=Resize(width=8))


def rewrite(layout: Layout, job: Job, change: Change) -> None:
    path = layout.folder(job.id) / "job.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("change", NEWER.values(), ids=NEWER)
def test_a_newer_job_is_left_and_logged_once(
    layout: Layout, jobs: VolumeJobs, engine: VolumeWork, change: Change
) -> None:
    newer, other = submit(jobs), submit(jobs)
    rewrite(layout, newer, change)
    before = sorted(path.name for path in layout.folder(newer.id).iterdir())
    with capture_logs() as logs:
        assert [engine.claim(newer.id) for _ in range(3)] == [None] * 3
        assert engine.pending() == [other.id]
        assert engine.claim(newer.id) is None
    assert [(line["event"], line["id"]) for line in logs] == [("job_too_new", newer.id)]
    assert sorted(path.name for path in layout.folder(newer.id).iterdir()) == before, "it was touched"
    assert jobs.status(newer.id).state is State.QUEUED
    claim = engine.claim(other.id)
    assert claim is not None
    assert claim.attempt == 1


@pytest.mark.parametrize("change", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_job_fails(layout: Layout, jobs: VolumeJobs, engine: VolumeWork, change: Change) -> None:
    job = submit(jobs)
    rewrite(layout, job, change)
    assert engine.claim(job.id) is None
    outcome = jobs.status(job.id).outcome
    assert outcome is not None
    assert outcome.error is not None
    assert outcome.error.code == "job_damaged"
    assert layout.markers() == []


def test_newer_jobs_do_not_fill_the_batch_of_a_poll(
    layout: Layout, jobs: VolumeJobs, engine: VolumeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "POLL_BATCH", 3)
    for _ in range(7):
        rewrite(layout, submit(jobs), NEWER["version 2"])
    last = submit(jobs)
    found = [engine.next(0) for _ in range(10)]
    assert [claim.job.id for claim in found if claim] == [last.id]


@pytest.mark.parametrize("name", [name for name in NEWER if name != "version 2 with another shape"])
def test_the_status_of_a_newer_job_has_what_is_understood(layout: Layout, jobs: VolumeJobs, name: str) -> None:
    job = submit(jobs)
    rewrite(layout, job, NEWER[name])
    found = jobs.status(job.id).job
    assert isinstance(found, JobOutline)
    assert (found.id, found.submitted_at, found.source.filename, found.source.bytes) == (
        job.id,
        job.submitted_at,
        "photo.jpg",
        len(JPEG_HEAD),
    )
    jobs.cancel(job.id)
    assert jobs.status(job.id).state is State.CANCELLED


def test_a_key_leads_to_the_job_that_a_newer_version_made(layout: Layout, jobs: VolumeJobs) -> None:
    key = IdempotencyKey("a key")
    first = submit(jobs, key)
    rewrite(layout, first, NEWER["a field"])
    assert submit(jobs, key).id == first.id
    assert len(layout.markers()) == 1


def test_jobs_that_every_engine_has_left_are_counted(layout: Layout, jobs: VolumeJobs, engine: VolumeWork) -> None:
    assert jobs.too_new() == 0
    for _ in range(2):
        rewrite(layout, submit(jobs), NEWER["version 2"])
    assert [engine.next(0) for _ in range(3)] == [None] * 3
    engine.announce()
    assert jobs.too_new() == 2
    newer = VolumeWork(layout, MemoryNotifier(), "newer", clock=ManualClock())
    newer.announce()
    assert jobs.too_new() == 0, "one of them understands them"
    newer.withdraw()
    assert jobs.too_new() == 2
    for marker in layout.markers():
        jobs.cancel(marker.name)
    engine.pending()
    engine.announce()
    assert jobs.too_new() == 0


def test_a_mark_of_an_engine_that_is_a_link_is_not_followed(layout: Layout, engine: VolumeWork) -> None:
    target = layout.root / "target"
    target.write_text("content")
    (layout.engines / "engine").symlink_to(target)
    with pytest.raises(StoreError):
        engine.announce()
    assert target.read_text() == "content"


@pytest.mark.parametrize("message", [b"", b"{}", b"[]", b'{"version":2}'])
def test_what_is_no_job_at_all_is_not_newer(message: bytes) -> None:
    assert not is_newer(message)


def test_the_name_of_an_upload_may_be_longer(layout: Layout, jobs: VolumeJobs, engine: VolumeWork) -> None:
    job = submit(jobs)
    rewrite(layout, job, lambda record: record["source"].update(filename="n" * 300))
    assert engine.claim(job.id) is None
    status = jobs.status(job.id)
    assert (status.state, status.job and status.job.source.filename) == (State.QUEUED, "n" * 300)


ENDED: dict[str, Any] = {
    "version": 2,
    "state": "done",
    "finished_at": "2026-11-23T12:00:00Z",
    "facts": {"width": 3, "height": 2},
    "outputs": [
        {
            "name": "image.png",
            "file": "1-image.png",
            "media_type": "image/png",
            "width": 3,
            "height": 2,
            "bytes": 9,
            "sha256": "0" * 64,
        }
    ],
}
OUTPUT = ENDED["outputs"][0]
NOT_KNOWN = {"width": None, "height": "?", "frames": None, "sha256": None}


@pytest.mark.parametrize(
    ("change", "state", "outputs", "warnings"),
    [
        ({"state": "expired"}, "done", 1, 0),
        ({"warnings": ["dim", {"code": "dim", "detail": "it was"}, {"code": "dark"}]}, "done", 1, 1),
        ({"warnings": "dim"}, "done", 1, 0),
        ({"facts": {"width": "wide"}, "attempt": "first"}, "done", 1, 0),
        ({"outputs": [OUTPUT | NOT_KNOWN]}, "done", 1, 0),
        ({"outputs": ["another", OUTPUT, OUTPUT | {"file": None}]}, "done", 1, 0),
        ({"outputs": [], "state": "expired"}, "failed", 0, 0),
        ({"outputs": [], "state": "failed", "error": "dark"}, "failed", 0, 0),
        ({"outputs": [], "state": "failed"}, "failed", 0, 0),
    ],
)
def test_what_is_understood_of_a_newer_outcome_is_told(
    change: dict[str, Any], state: str, outputs: int, warnings: int
) -> None:
    outcome = parse_outcome(json.dumps(ENDED | change).encode(), NOW)
    assert outcome.finished_at < NOW, "it counts as damaged"
    assert (outcome.state, len(outcome.outputs), len(outcome.warnings)) == (state, outputs, warnings)
    assert (outcome.error is None) is (state == "done"), "a failed job has a reason"


def test_a_state_that_is_not_known_is_told_as_the_reason() -> None:
    outcome = parse_outcome(json.dumps(ENDED | {"state": "expired", "outputs": []}).encode(), NOW)
    assert outcome.error == Failure(
        code="expired", detail="the engine's version ended the job as expired, and says no more"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2}',
        json.dumps(ENDED | {"finished_at": "yesterday"}).encode(),
        json.dumps(ENDED | {"outputs": "many"}).encode(),
        json.dumps(ENDED | {"state": 3}).encode(),
    ],
)
def test_an_outcome_that_tells_too_little_is_damaged(content: bytes) -> None:
    outcome = parse_outcome(content, NOW)
    assert (outcome.finished_at, outcome.error and outcome.error.code) == (NOW, FailureCode.JOB_DAMAGED)
