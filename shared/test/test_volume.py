"""What is special to the volume: files after a crash at each step, expiry, full disks."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from img_contract import failpoints
from img_contract.errors import StoreFull, StoreUnavailable, UnknownJob
from img_contract.job.job import Job
from img_contract.job.outcome import Facts, Failure, FailureCode, State
from img_contract.volume.cleanup import ADOPTION_SECONDS, LEFTOVER_SECONDS, ROUND, SHARDS, Upkeep
from img_contract.volume.files import fsync_directory
from img_contract.volume.store import VolumeStore

Submit = Callable[[], Job]
FAILURE = Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken")


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def upkeep(store: VolumeStore) -> None:
    """The whole volume once."""
    keeper = Upkeep(store.root, store.retention_seconds)
    for _ in range(SHARDS):
        keeper.portion()


def test_the_layout_is_the_documented_one(store: VolumeStore, submit: Submit) -> None:
    job = submit()
    folder = store.root / "jobs" / job.id[:2] / job.id
    assert sorted(path.name for path in folder.iterdir()) == ["job.json", "source"]
    assert Job.model_validate_json((folder / "job.json").read_bytes()) == job
    assert (store.root / "pending" / job.id).read_bytes() == b""
    assert list((store.root / "incoming").iterdir()) == []
    claim = store.claim(job.id, "engine")
    assert claim is not None
    assert (folder / "claim.1").exists()
    claim.fail(FAILURE)
    assert (folder / "outcome.json").exists()
    assert not (store.root / "pending" / job.id).exists()


def test_an_ended_job_expires_whole(store: VolumeStore, submit: Submit) -> None:
    old, young, waiting = submit(), submit(), submit()
    for job in (old, young):
        claim = store.claim(job.id, "engine")
        assert claim is not None
        claim.fail(FAILURE)
    age(store.folder(old.id) / "outcome.json", store.retention_seconds + 1)
    age(store.folder(waiting.id), store.retention_seconds + 1)
    upkeep(store)
    with pytest.raises(UnknownJob):
        store.status(old.id)
    assert list((store.root / "incoming").iterdir()) == []
    assert store.status(young.id).state is State.FAILED
    assert store.status(waiting.id).state is State.QUEUED


def test_a_broken_submission_is_cleared_after_an_hour_but_a_slow_one_is_not(store: VolumeStore) -> None:
    with store.begin() as broken, store.begin() as slow:
        for submission in (broken, slow):
            submission.picture.write(b"half")
            age(submission._folder / "source", LEFTOVER_SECONDS + 1)
            age(submission._folder, LEFTOVER_SECONDS + 1)
        slow.picture.write(b"another byte")
        upkeep(store)
        assert [path.name for path in (store.root / "incoming").iterdir()] == [slow._folder.name]


def test_a_job_whose_marker_was_never_made_is_adopted(store: VolumeStore, submit: Submit) -> None:
    """The API died between the rename and the marker; or someone lost the folder pending/."""
    job = submit()
    (store.root / "pending" / job.id).unlink()
    upkeep(store)
    assert store.pending() == []  # it may be in the middle of being submitted
    age(store.folder(job.id), ADOPTION_SECONDS + 1)
    upkeep(store)
    assert store.pending() == [job.id]


def test_a_marker_that_outlived_its_outcome_is_removed(store: VolumeStore, submit: Submit) -> None:
    """The engine died between the outcome and the marker."""
    job = submit()
    claim = store.claim(job.id, "engine")
    assert claim is not None
    claim.fail(FAILURE)
    (store.root / "pending" / job.id).touch()
    assert store.pending() == []
    assert not (store.root / "pending" / job.id).exists()


def test_a_marker_without_a_job_is_removed_after_an_hour(store: VolumeStore, submit: Submit) -> None:
    marker = store.root / "pending" / "00000000-0000-4000-8000-000000000000"
    marker.touch()
    upkeep(store)
    assert marker.exists()
    age(marker, LEFTOVER_SECONDS + 1)
    upkeep(store)
    assert not marker.exists()
    assert submit().id in store.pending()


@pytest.mark.parametrize("record", [b"", b"{", b'{"version": 2}', b"\xff\x00junk"])
def test_a_damaged_record_fails_its_job_with_the_reason(store: VolumeStore, submit: Submit, record: bytes) -> None:
    job, other = submit(), submit()
    (store.folder(job.id) / "job.json").write_bytes(record)
    assert store.claim(job.id, "engine") is None
    assert "job_damaged" in (store.folder(job.id) / "outcome.json").read_text()
    assert store.pending() == [other.id]
    status = store.status(job.id)
    assert (status.state, status.job) == (State.FAILED, None)
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert status.outcome.error.code is FailureCode.JOB_DAMAGED


def test_a_record_that_is_a_link_is_not_followed(store: VolumeStore, submit: Submit, tmp_path: Path) -> None:
    job = submit()
    record = store.folder(job.id) / "job.json"
    elsewhere = tmp_path / "elsewhere"
    record.rename(elsewhere)
    record.symlink_to(elsewhere)
    assert store.status(job.id).job is None
    assert store.claim(job.id, "engine") is None
    outcome = store.status(job.id).outcome
    assert outcome is not None
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.detail) == (
        FailureCode.JOB_DAMAGED,
        "the job is damaged: job.json is no regular file",
    )


def test_a_full_volume_is_told_apart_from_a_broken_one(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch, submit: Submit
) -> None:
    def failing(number: int) -> Callable[..., None]:
        def fsync(_: int) -> None:
            raise OSError(number, os.strerror(number))

        return fsync

    for number, kind in ((errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreUnavailable)):
        with monkeypatch.context() as patch, pytest.raises(kind):
            patch.setattr(os, "fsync", failing(number))
            submit()
    assert store.pending() == []
    assert list((store.root / "incoming").iterdir()) == []
    assert submit().id in store.pending()


def test_a_volume_whose_folders_are_gone_is_unavailable(store: VolumeStore) -> None:
    (store.root / "incoming").rmdir()
    with pytest.raises(StoreUnavailable), store.begin():
        pass
    with pytest.raises(StoreUnavailable):
        store.engines()


def test_facts_of_an_attempt_survive_a_restart(store: VolumeStore, submit: Submit) -> None:
    job = submit()
    claim = store.claim(job.id, "engine")
    assert claim is not None
    claim.fail(FAILURE, Facts(width=1, height=2, orientation=6))
    status = VolumeStore(store.root).status(job.id)
    assert status.outcome is not None
    assert status.outcome.facts == Facts(width=1, height=2, orientation=6)
    assert status.attempt == 1


def test_a_claim_that_cannot_be_made_whole_is_not_made(store: VolumeStore, submit: Submit) -> None:
    """Or a full disk would cost attempts."""
    job = submit()
    for number in (1, 2):  # the workspace, and the record in the claim
        failpoints.arm({failpoints.VARIABLE: f"storage.write#{number}=ENOSPC"})
        with pytest.raises(StoreFull):
            store.claim(job.id, "engine")
    failpoints.arm({})
    claim = store.claim(job.id, "engine")
    assert claim is not None
    assert claim.attempt == 1


def test_markers_that_vanish_during_a_sweep_do_not_stop_it(
    store: VolumeStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other engines end jobs at any moment."""
    jobs = [submit() for _ in range(3)]
    listed = store._markers()
    monkeypatch.setattr(store, "_markers", lambda: listed)
    (store.root / "pending" / jobs[1].id).unlink()
    assert store.pending() == [jobs[0].id, jobs[2].id]


def test_what_cannot_be_cleaned_keeps_nothing_else_from_it(
    store: VolumeStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit()
    claim = store.claim(job.id, "engine")
    assert claim is not None
    claim.fail(FAILURE)
    age(store.folder(job.id) / "outcome.json", store.retention_seconds + 1)
    stuck = store.root / "pending" / "stuck"
    stuck.touch()
    age(stuck, LEFTOVER_SECONDS + 1)
    unlink = Path.unlink

    def refusing(path: Path, *, missing_ok: bool = False) -> None:
        if path.name == "stuck":
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    keeper = Upkeep(store.root, store.retention_seconds)
    faults = 0
    for _ in range(SHARDS):
        try:
            keeper.portion()
        except PermissionError:
            faults += 1
    assert faults == SHARDS // ROUND
    with pytest.raises(UnknownJob):
        store.status(job.id)


def test_a_submission_that_is_taken_back_leaves_no_job(
    store: VolumeStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails after the rename: nobody was told of the job, and no engine may find it."""
    calls: list[Path] = []

    def failing(path: Path) -> None:
        calls.append(path)
        if path.parent.name == "jobs":  # the folder of the shard, after the rename
            raise OSError(errno.EIO, "Input/output error")
        fsync_directory(path)

    monkeypatch.setattr("img_contract.volume.submission.fsync_directory", failing)
    with pytest.raises(StoreUnavailable):
        submit()
    assert calls[-1].parent.name == "jobs"
    assert store.pending() == []
    assert list((store.root / "incoming").iterdir()) == []
    assert [path for path in (store.root / "jobs").rglob("*") if path.is_file()] == []
