"""What is special to the volume: files after a crash at each step, expiry, full disks."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from img_contract import failpoints
from img_contract.errors import ResultGone, StoreFull, StoreUnavailable, UnknownJob
from img_contract.job.job import Job
from img_contract.job.outcome import Facts, Failure, FailureCode, State
from img_contract.job.resize import Resize
from img_contract.notify.memory import MemoryNotifier
from img_contract.testing import write_result
from img_contract.volume.cleanup import ADOPTION_SECONDS, LEFTOVER_SECONDS, ROUND, SHARDS, Cleanup
from img_contract.volume.files import fsync_directory, names_in
from img_contract.volume.layout import Layout
from img_contract.volume.proof import prove
from img_contract.volume.queue import VolumeWork
from img_contract.volume.store import VolumeJobs
from structlog.testing import capture_logs

Backend = Any
Submit = Callable[[], Job]
RETENTION_SECONDS = 24 * 3600.0
FAILURE = Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken")


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def clean(layout: Layout) -> None:
    """Clean the whole volume once."""
    cleanup = Cleanup(layout, RETENTION_SECONDS)
    for _ in range(SHARDS):
        cleanup.run_batch()


@pytest.fixture
def jobs(volume_backend: Backend) -> VolumeJobs:
    made: VolumeJobs = volume_backend.jobs
    return made


@pytest.fixture
def engine(volume_backend: Backend) -> VolumeWork:
    made: VolumeWork = volume_backend.engine
    return made


@pytest.fixture
def submit(volume_backend: Backend) -> Submit:
    made: Submit = volume_backend.submit
    return made


def test_a_job_that_is_cancelled_while_its_status_is_read_is_not_unknown(
    jobs: VolumeJobs, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit()

    def cancelled_after_listing(folder: str) -> list[str]:
        monkeypatch.undo()
        names = names_in(folder)
        jobs.cancel(job.id)
        return names

    monkeypatch.setattr("img_contract.volume.store.names_in", cancelled_after_listing)
    assert jobs.status(job.id).state is State.QUEUED
    assert jobs.status(job.id).state is State.CANCELLED


def test_the_layout_is_the_documented_one(submit: Submit, engine: VolumeWork, layout: Layout) -> None:
    job = submit()
    folder = layout.root / "jobs" / job.id[:2] / job.id
    assert sorted(path.name for path in folder.iterdir()) == ["job.json", "source"]
    assert Job.model_validate_json((folder / "job.json").read_bytes()) == job
    assert (layout.root / "pending" / job.id).samefile(folder / "job.json")
    assert list((layout.root / "incoming").iterdir()) == []
    claim = engine.claim(job.id)
    assert claim is not None
    assert (folder / "claim.1").exists()
    claim.fail(FAILURE)
    assert (folder / "outcome.json").exists()
    assert not (layout.root / "pending" / job.id).exists()


def test_an_ended_job_expires_whole(submit: Submit, jobs: VolumeJobs, engine: VolumeWork, layout: Layout) -> None:
    old, young, waiting = submit(), submit(), submit()
    for job in (old, young):
        claim = engine.claim(job.id)
        assert claim is not None
        claim.fail(FAILURE)
    age(layout.folder(old.id) / "outcome.json", RETENTION_SECONDS + 1)
    age(layout.folder(waiting.id), RETENTION_SECONDS + 1)
    clean(layout)
    with pytest.raises(UnknownJob):
        jobs.status(old.id)
    assert list((layout.root / "incoming").iterdir()) == []
    assert jobs.status(young.id).state is State.FAILED
    assert jobs.status(waiting.id).state is State.QUEUED


def test_a_broken_submission_is_cleared_after_an_hour_but_a_slow_one_is_not(jobs: VolumeJobs, layout: Layout) -> None:
    with jobs.begin() as broken, jobs.begin() as slow:
        for submission in (broken, slow):
            submission.picture.write(b"half")
            age(Path(submission._folder, "source"), LEFTOVER_SECONDS + 1)
            age(Path(submission._folder), LEFTOVER_SECONDS + 1)
        slow.picture.write(b"another byte")
        clean(layout)
        assert [path.name for path in (layout.root / "incoming").iterdir()] == [Path(slow._folder).name]


def test_a_job_whose_marker_was_never_made_is_adopted(submit: Submit, engine: VolumeWork, layout: Layout) -> None:
    """The API died between the rename and the marker; or someone lost the folder pending/."""
    job = submit()
    (layout.root / "pending" / job.id).unlink()
    clean(layout)
    assert engine.pending() == []  # it may be in the middle of being submitted
    age(layout.folder(job.id), ADOPTION_SECONDS + 1)
    clean(layout)
    assert engine.pending() == [job.id]


def test_a_marker_that_outlived_its_outcome_is_removed(submit: Submit, engine: VolumeWork, layout: Layout) -> None:
    """The engine died between the outcome and the marker."""
    job = submit()
    claim = engine.claim(job.id)
    assert claim is not None
    claim.fail(FAILURE)
    (layout.root / "pending" / job.id).touch()
    assert engine.pending() == []
    assert not (layout.root / "pending" / job.id).exists()


def test_a_marker_without_a_job_is_removed_after_an_hour(submit: Submit, engine: VolumeWork, layout: Layout) -> None:
    marker = layout.root / "pending" / "00000000-0000-4000-8000-000000000000"
    marker.touch()
    clean(layout)
    assert marker.exists()
    age(marker, LEFTOVER_SECONDS + 1)
    clean(layout)
    assert not marker.exists()
    assert submit().id in engine.pending()


@pytest.mark.parametrize("record", [b"", b"{", b'{"version": 2}', b"\xff\x00junk"])
def test_a_damaged_record_fails_its_job_with_the_reason(
    submit: Submit, record: bytes, jobs: VolumeJobs, engine: VolumeWork, layout: Layout
) -> None:
    job, other = submit(), submit()
    (layout.folder(job.id) / "job.json").write_bytes(record)
    assert engine.claim(job.id) is None
    assert "job_damaged" in (layout.folder(job.id) / "outcome.json").read_text()
    assert engine.pending() == [other.id]
    status = jobs.status(job.id)
    assert (status.state, status.job) == (State.FAILED, None)
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert status.outcome.error.code is FailureCode.JOB_DAMAGED


def test_a_record_that_is_a_link_is_not_followed(
    submit: Submit, tmp_path: Path, jobs: VolumeJobs, engine: VolumeWork, layout: Layout
) -> None:
    job = submit()
    record = layout.folder(job.id) / "job.json"
    elsewhere = tmp_path / "elsewhere"
    record.rename(elsewhere)
    record.symlink_to(elsewhere)
    assert jobs.status(job.id).job is None
    assert engine.claim(job.id) is None
    outcome = jobs.status(job.id).outcome
    assert outcome is not None
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.detail) == (
        FailureCode.JOB_DAMAGED,
        "the job is damaged: job.json is no regular file",
    )


def test_a_full_volume_is_told_apart_from_a_broken_one(
    monkeypatch: pytest.MonkeyPatch, submit: Submit, engine: VolumeWork, layout: Layout
) -> None:
    def failing(number: int) -> Callable[..., None]:
        def fsync(_: int) -> None:
            raise OSError(number, os.strerror(number))

        return fsync

    for number, kind in ((errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreUnavailable)):
        with monkeypatch.context() as patch, pytest.raises(kind):
            patch.setattr(os, "fsync", failing(number))
            submit()
    assert engine.pending() == []
    assert list((layout.root / "incoming").iterdir()) == []
    assert submit().id in engine.pending()


GROUP = 30_000


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Have this process, of root, be a user of `GROUP` for a block."""
    os.setegid(GROUP)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that a group may write to, where any user can get to it; the umask is put back."""
    if os.geteuid():
        pytest.skip("only root can be several users")
    before = os.umask(0o077)
    with TemporaryDirectory() as folder:
        os.chown(folder, 0, GROUP)
        os.chmod(folder, 0o2770)  # noqa: S103  that is what is tried
        yield Path(folder)
    os.umask(before)


def test_users_with_a_group_in_common_share_a_volume(shared_folder: Path) -> None:
    layout = Layout(shared_folder)
    notifier = MemoryNotifier()
    jobs, engine = VolumeJobs(layout, notifier), VolumeWork(layout, notifier, "engine")

    def submitted() -> Job:
        with jobs.begin() as submission:
            submission.picture.write(b"\xff\xd8\xff\xe0" + bytes(60))
            return submission.commit(filename=None, resize=Resize(width=8))

    with capture_logs() as logs:
        with as_user(20_001):
            layout.share_with_group()
            layout.prepare()
            prove(layout)
            job, other = submitted(), submitted()
        with as_user(20_002):
            prove(layout)
            claim = engine.claim(job.id)
            assert claim is not None
            with claim.files() as files:
                results = [write_result(files)]
            assert claim.publish(results, Facts(width=1, height=1), ())
            claim.close()
        with as_user(20_001):
            jobs.cancel(other.id)
            assert (jobs.status(job.id).state, jobs.status(other.id).state) == (State.DONE, State.CANCELLED)
            jobs.cancel(job.id)
        with as_user(20_002):
            Cleanup(layout, 0)._expire(layout.folder(other.id))
    assert [line for line in logs if line["log_level"] != "info"] == []
    assert names_in(layout.incoming) == []


def test_a_folder_of_another_user_of_the_group_is_told_with_what_helps(shared_folder: Path) -> None:
    layout = Layout(shared_folder)
    with as_user(20_001):
        layout.prepare()
    shared_folder.chmod(0o2750)
    layout.incoming.chmod(0o2750)
    with as_user(20_002), pytest.raises(StoreUnavailable, match=r"let their group write: chmod -R g\+rwX the volume"):
        prove(layout)


@pytest.mark.parametrize(
    ("call", "number", "told"),
    [
        ("utime", errno.EPERM, "cannot touch a file: .*: its file system, how that is mounted, or a security profile"),
        ("fsync", errno.EINVAL, "cannot write and flush a file: .* volume needs fsync of files and folders"),
        ("fsync", errno.EIO, r"cannot write and flush a file: .*Input/output error \(EIO\)$"),
        (
            "rename",
            errno.EXDEV,
            "cannot rename a folder: .* on one file system: mount the volume as a whole",
        ),
        ("link", errno.EPERM, "cannot make a hard link and flush a folder: .* needs hard links"),
        ("mkdir", errno.EROFS, "cannot make a folder: .* is mounted read-only"),
    ],
)
def test_what_a_volume_cannot_do_is_proven_and_told_with_what_helps(
    monkeypatch: pytest.MonkeyPatch, layout: Layout, call: str, number: int, told: str
) -> None:
    def refused(*paths: object, **_: object) -> None:
        raise OSError(number, os.strerror(number), *([paths[0], None, paths[-1]] if call in ("rename", "link") else []))

    monkeypatch.setattr(os, call, refused)
    with pytest.raises(StoreUnavailable, match=told):
        prove(layout)


def test_a_folder_that_its_owner_may_not_write_to_is_told_with_what_helps(
    monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for anybody but root
    with pytest.raises(StoreUnavailable, match=r"mode 0[0-7]{3}: chmod -R u\+rwX the volume"):
        prove(layout)


def test_a_volume_whose_folders_are_gone_is_unavailable(jobs: VolumeJobs, layout: Layout) -> None:
    (layout.root / "incoming").rmdir()
    with pytest.raises(StoreUnavailable), jobs.begin():
        pass
    with pytest.raises(StoreUnavailable):
        jobs.engines()


def test_facts_of_an_attempt_survive_a_restart(submit: Submit, engine: VolumeWork, layout: Layout) -> None:
    job = submit()
    claim = engine.claim(job.id)
    assert claim is not None
    claim.fail(FAILURE, Facts(width=1, height=2, orientation=6))
    status = VolumeJobs(Layout(layout.root), MemoryNotifier()).status(job.id)
    assert status.outcome is not None
    assert status.outcome.facts == Facts(width=1, height=2, orientation=6)
    assert status.attempt == 1


def test_a_claim_that_cannot_be_made_whole_is_not_made(submit: Submit, engine: VolumeWork) -> None:
    """Or a full disk would cost attempts."""
    job = submit()
    for number in (1, 2):  # the workspace, and the record in the claim
        failpoints.arm({failpoints.VARIABLE: f"storage.write#{number}=ENOSPC"})
        with pytest.raises(StoreFull):
            engine.claim(job.id)
    failpoints.arm({})
    claim = engine.claim(job.id)
    assert claim is not None
    assert claim.attempt == 1


def test_markers_that_vanish_during_a_sweep_do_not_stop_it(
    submit: Submit, monkeypatch: pytest.MonkeyPatch, jobs: VolumeJobs, engine: VolumeWork, layout: Layout
) -> None:
    """Other engines end jobs at any moment."""
    jobs = [submit() for _ in range(3)]
    listed = layout.markers()
    monkeypatch.setattr(layout, "markers", lambda: listed)
    (layout.root / "pending" / jobs[1].id).unlink()
    assert engine.pending() == [jobs[0].id, jobs[2].id]


def test_what_cannot_be_cleaned_keeps_nothing_else_from_it(
    submit: Submit, monkeypatch: pytest.MonkeyPatch, jobs: VolumeJobs, engine: VolumeWork, layout: Layout
) -> None:
    job = submit()
    claim = engine.claim(job.id)
    assert claim is not None
    claim.fail(FAILURE)
    age(layout.folder(job.id) / "outcome.json", RETENTION_SECONDS + 1)
    stuck = layout.root / "pending" / "stuck"
    stuck.touch()
    age(stuck, LEFTOVER_SECONDS + 1)
    unlink = os.unlink

    def refusing(path: Path | str, *, dir_fd: int | None = None) -> None:
        if Path(path).name == "stuck":
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr("img_contract.volume.files.os.unlink", refusing)
    cleanup = Cleanup(layout, RETENTION_SECONDS)
    faults = 0
    for _ in range(SHARDS):
        try:
            cleanup.run_batch()
        except PermissionError:
            faults += 1
    assert faults == SHARDS // ROUND
    with pytest.raises(UnknownJob):
        jobs.status(job.id)


@pytest.mark.parametrize("hours", [-2, 2])
def test_an_engine_whose_clock_is_wrong_clears_neither_uploads_nor_engines(
    hours: int, jobs: VolumeJobs, engine: VolumeWork, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.announce()
    left = layout.incoming / "left"
    left.mkdir()
    age(left, LEFTOVER_SECONDS + 60)
    with jobs.begin() as submission:
        submission.picture.write(b"\xff\xd8\xff")
        right = time.time
        monkeypatch.setattr(time, "time", lambda: right() + hours * 3600)
        clean(layout)
        job = submission.commit(filename=None, resize=Resize(width=10))
    assert jobs.status(job.id).state is State.QUEUED
    assert not left.exists()
    assert len(jobs.engines()) == 1


def test_metrics_are_replaced_and_those_that_cannot_be_read_are_left_out(
    engine: VolumeWork, jobs: VolumeJobs, layout: Layout, tmp_path: Path
) -> None:
    engine.publish_metrics("long\n" * 100)
    engine.publish_metrics("short\n")
    (tmp_path / "secret").write_text("img_secret 1\n")
    (layout.metrics / "link.prom").symlink_to(tmp_path / "secret")
    (layout.metrics / "folder.prom").mkdir()
    (layout.metrics / "binary.prom").write_bytes(b"\xff\xfe")
    (layout.metrics / ".half.prom").write_text("hal")
    (layout.metrics / "stranger").write_text("img_stranger 1\n")
    os.mkfifo(layout.metrics / "pipe.prom")
    assert jobs.engine_metrics() == {"engine": "short\n"}


def test_metrics_of_an_engine_that_died_are_told_no_more_and_removed_later(
    engine: VolumeWork, jobs: VolumeJobs, layout: Layout
) -> None:
    engine.publish_metrics("text\n")
    file, draft = layout.metrics / "engine.prom", layout.metrics / ".engine.prom"
    draft.write_text("te")  # it died while it wrote
    age(file, 31)
    assert jobs.engine_metrics() == {}
    clean(layout)
    assert file.exists()
    for path in (file, draft):
        age(path, LEFTOVER_SECONDS + 60)
    clean(layout)
    assert list(layout.metrics.iterdir()) == []


def test_a_submission_that_is_taken_back_leaves_no_job(
    submit: Submit, monkeypatch: pytest.MonkeyPatch, engine: VolumeWork, layout: Layout
) -> None:
    """The disk fails after the rename: nobody was told of the job, and no engine may find it."""
    calls: list[Path] = []

    def failing(folder: str) -> None:
        path = Path(folder)
        calls.append(path)
        if path.parent.name == "jobs":  # the folder of the shard, after the rename
            raise OSError(errno.EIO, "Input/output error")
        fsync_directory(path)

    monkeypatch.setattr("img_contract.volume.submission.fsync_directory", failing)
    with pytest.raises(StoreUnavailable):
        submit()
    assert calls[-1].parent.name == "jobs"
    assert engine.pending() == []
    assert list((layout.root / "incoming").iterdir()) == []
    assert [path for path in (layout.root / "jobs").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", ["gone", "a link", "a folder", "shorter", "no folder"])
def test_a_damaged_result_is_gone(
    submit: Submit, jobs: VolumeJobs, engine: VolumeWork, layout: Layout, damage: str
) -> None:
    job = submit()
    claim = engine.claim(job.id)
    assert claim is not None
    with claim.files() as files:
        claim.publish([write_result(files)], Facts(width=8, height=6), ())
    path = layout.folder(job.id) / "result" / "1-image.jpg"
    path.unlink()
    match damage:
        case "a link":
            path.symlink_to("/etc/passwd")
        case "a folder":
            path.mkdir()
        case "shorter":
            path.write_bytes(b"x")
        case "no folder":
            path.parent.rmdir()
            path.parent.write_bytes(b"")
    with pytest.raises(ResultGone):
        jobs.open_result(jobs.status(job.id))


def test_strange_things_among_the_keys_are_cleaned(layout: Layout) -> None:
    for name in ("folder", "file"):
        stray = layout.idempotency / name
        stray.mkdir() if name == "folder" else stray.write_bytes(b"strange")
        age(stray, LEFTOVER_SECONDS + 1)
    clean(layout)
    assert list(layout.idempotency.iterdir()) == []


def test_an_attempt_of_which_nothing_was_heard_and_a_job_that_is_given_up_are_logged_by_who_takes_over(
    volume_backend: Backend, submit: Submit
) -> None:
    job = submit()
    first, *others = (volume_backend.new_engine(name) for name in ("one", "two", "three", "four"))
    volume_backend.claimed(first)
    with capture_logs() as logs:
        for engine in others:
            volume_backend.let_lease_end(engine)
            volume_backend.take(engine)
    assert [(line["event"], line["id"], line.get("attempt")) for line in logs] == [
        ("attempt_lost", job.id, 1),
        ("attempt_lost", job.id, 2),
        ("attempt_lost", job.id, 3),
        ("job_failed", job.id, None),
    ]
    assert (logs[-1]["code"], logs[-1]["recorded"]) == (FailureCode.ATTEMPTS_EXHAUSTED, True)


def test_an_attempt_that_was_abandoned_is_not_logged_as_lost(volume_backend: Backend, submit: Submit) -> None:
    submit()
    claim = volume_backend.claimed()
    claim.abandon("its child died")
    claim.close()
    with capture_logs() as logs:
        assert volume_backend.claimed().attempt == 2
    assert logs == []
