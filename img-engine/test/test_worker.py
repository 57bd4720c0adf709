"""The engine's loop with a real volume and real children: delivery, retries, cancellation, an orderly end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import img_engine.worker
import pytest
from img_contract.config import EngineConfig
from img_contract.job.job import Job
from img_contract.job.outcome import FailureCode, JobStatus, State
from img_contract.job.resize import Resize
from img_contract.notify.zmq_pair import MemoryNotifier
from img_contract.volume.store import VolumeStore
from img_engine.process.pool import Children
from img_engine.render.task import PictureLimits
from img_engine.worker import Worker
from PIL import Image

LIMITS = PictureLimits(pixels=64_000_000, frames=100, memory=2**30, animation_pixels=500_000_000)


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    made = VolumeStore(tmp_path / "volume", lease_seconds=1.0)
    made.prepare()
    return made


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 48), "red").save(path)
    return path.read_bytes()


@pytest.fixture
def slow_picture(tmp_path: Path) -> bytes:
    """Takes seconds: AVIF is slow to encode, and noise slower."""
    path = tmp_path / "slow.png"
    Image.effect_noise((2400, 2000), 90).convert("RGB").save(path, compress_level=1)
    return path.read_bytes()


def submit(store: VolumeStore, data: bytes, **ask: Any) -> Job:
    with store.begin() as submission:
        submission.picture.write(data)
        resize = Resize.model_validate({"width": 16} | ask)
        return submission.commit(filename="picture.png", resize=resize)


def until(what: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


def ended(store: VolumeStore, job: Job, seconds: float = 30) -> JobStatus:
    until(lambda: store.ended(job.id), seconds)
    return store.status(job.id)


@contextmanager
def engine(
    store: VolumeStore, *, count: int = 1, notifier: MemoryNotifier | None = None, **settings: Any
) -> Iterator[Worker]:
    config = EngineConfig.model_validate(
        {"heartbeat_seconds": 0.1, "lease_seconds": 1.0, "shutdown_timeout_seconds": 5.0, "job_seconds": 30} | settings
    )
    children = Children(count, config.child_bytes, config.job_seconds)
    worker = Worker("engine", store, notifier or MemoryNotifier(), children, count, config, LIMITS)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()


def children_of_this_process() -> list[int]:
    """Rendering processes: grandchildren, since the fork server stands between."""
    import psutil

    return [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if process.parent() is not None and process.ppid() != os.getpid() and process.status() != "zombie"
    ]


def test_a_job_that_was_notified_is_rendered(store: VolumeStore, picture: bytes) -> None:
    notifier = MemoryNotifier()
    with engine(store, notifier=notifier):
        job = submit(store, picture)
        notifier.notify(job)
        status = ended(store, job)
    assert status.state is State.DONE
    path, output, _ = store.open_result(job.id)
    with Image.open(path) as image:
        assert image.size == (output.width, output.height) == (16, 12)


def test_a_job_whose_notification_was_lost_is_found_by_the_sweep(store: VolumeStore, picture: bytes) -> None:
    with engine(store):
        job = submit(store, picture)
        assert ended(store, job, seconds=10).state is State.DONE


def test_jobs_that_waited_for_an_engine_are_done_in_order(store: VolumeStore, picture: bytes) -> None:
    jobs = [submit(store, picture) for _ in range(12)]
    with engine(store):
        finished = [ended(store, job) for job in jobs]
    assert all(status.state is State.DONE for status in finished)
    starts = [status.started_at for status in finished]
    assert starts == sorted(starts, key=str)


def test_a_job_is_rendered_once_however_often_it_is_notified(store: VolumeStore, picture: bytes) -> None:
    notifier = MemoryNotifier()
    with engine(store, notifier=notifier, count=2):
        job = submit(store, picture)
        for _ in range(10):
            notifier.notify(job)
        assert ended(store, job).attempt == 1
        other = submit(store, picture)
        notifier.notify(other)
        ended(store, other)
    assert [path.name for path in store.folder(job.id).glob("claim.*")] == ["claim.1"]


def test_a_corrupt_picture_fails_at_once_and_the_next_is_served(store: VolumeStore, picture: bytes) -> None:
    with engine(store):
        corrupt = submit(store, picture[:60])
        good = submit(store, picture)
        status = ended(store, corrupt)
        assert ended(store, good).state is State.DONE
    assert status.state is State.FAILED
    assert status.attempt == 1
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert status.outcome.error.code in (FailureCode.PICTURE_CORRUPT, FailureCode.PICTURE_UNSUPPORTED)


@pytest.mark.parametrize("make", [os.mkfifo, lambda at: os.symlink("/etc/passwd", at)])
def test_an_upload_that_is_no_regular_file_fails_as_missing(
    make: Callable[[Path], None], store: VolumeStore, picture: bytes
) -> None:
    job = submit(store, picture)
    source = store.folder(job.id) / "source"
    source.unlink()
    make(source)
    with engine(store):
        status = ended(store, job)
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert (status.outcome.error.code, status.attempt) == (FailureCode.JOB_DAMAGED, 1)


def test_a_child_that_is_killed_costs_an_attempt_and_the_job_is_done_by_another(
    store: VolumeStore, slow_picture: bytes
) -> None:
    with engine(store):
        job = submit(store, slow_picture, width=2000, format="avif")
        until(lambda: store.status(job.id).state is State.PROCESSING)
        part = store.folder(job.id) / "claim.1"
        until(part.exists)
        time.sleep(0.3)  # well into the rendering, which takes seconds
        victims = children_of_this_process()
        assert victims, "no child is running"
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        status = ended(store, job, seconds=60)
    assert status.state is State.DONE
    assert status.attempt == 2


def test_children_that_die_idle_are_replaced_and_no_attempt_is_charged(store: VolumeStore, picture: bytes) -> None:
    """As when the kernel needs memory. Several times, since the pool is made anew each time."""
    with engine(store, count=2):
        for _ in range(3):
            assert ended(store, submit(store, picture)).state is State.DONE
            victims = children_of_this_process()
            assert victims
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
        jobs = [submit(store, picture) for _ in range(5)]
        ends = [ended(store, job) for job in jobs]
    assert {(status.state, status.attempt) for status in ends} == {(State.DONE, 1)}


def test_a_job_that_outruns_its_time_fails_after_its_attempts_with_the_reason(
    store: VolumeStore, slow_picture: bytes, picture: bytes
) -> None:
    store.attempts = 2
    with engine(store, job_seconds=0.3):
        job = submit(store, slow_picture, width=2000, format="avif")
        status = ended(store, job, seconds=60)
        assert ended(store, submit(store, picture), seconds=30).state is State.DONE
    assert status.state is State.FAILED
    assert status.attempt == 2
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert status.outcome.error.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert "longer than 0.3 seconds" in status.outcome.error.detail


def test_a_picture_that_takes_its_time_in_work_fails_at_once(
    store: VolumeStore, slow_picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take it again: only who was stopped by the clock, perhaps on a busy machine, is tried again."""
    monkeypatch.setattr("img_engine.process.pool._CPU_SHARE", 0.1)  # so that a busy machine's clock does not come first
    job = submit(store, slow_picture, width=2400, format="avif", effort=10)
    with engine(store, job_seconds=30):
        status = ended(store, job)
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert (status.outcome.error.code, status.attempt) == (FailureCode.TOO_SLOW, 1)
    assert "3 seconds of CPU time" in status.outcome.error.detail


def test_a_cancelled_job_is_stopped_and_the_next_is_served(
    store: VolumeStore, slow_picture: bytes, picture: bytes
) -> None:
    with engine(store):
        job = submit(store, slow_picture, width=2000, format="avif")
        until(lambda: store.status(job.id).state is State.PROCESSING)
        store.cancel(job.id)
        began = time.monotonic()
        next_job = submit(store, picture)
        assert ended(store, next_job).state is State.DONE
        assert time.monotonic() - began < 15
    assert store.status(job.id).state is State.CANCELLED


def test_an_orderly_stop_finishes_what_runs_and_charges_nothing(
    store: VolumeStore, slow_picture: bytes, picture: bytes
) -> None:
    with engine(store, shutdown_timeout_seconds=30) as worker:
        running = submit(store, slow_picture, width=900)
        until(lambda: store.status(running.id).state is State.PROCESSING)
        waiting = submit(store, picture)
        worker.stop()
    assert store.status(running.id).state is State.DONE
    assert store.status(waiting.id).state is State.QUEUED
    assert store.engines() == []


def test_a_stop_that_cannot_wait_gives_the_claim_back(store: VolumeStore, slow_picture: bytes) -> None:
    with engine(store, shutdown_timeout_seconds=0.1) as worker:
        job = submit(store, slow_picture, width=2000, format="avif")
        until(lambda: store.status(job.id).state is State.PROCESSING)
        worker.stop()
    assert store.status(job.id).state is State.QUEUED
    assert store.pending() == [job.id]


def test_a_full_disk_waits_and_costs_no_attempt(
    store: VolumeStore, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(img_engine.worker, "FAULT_SECONDS", 0.05)
    job = submit(store, picture)
    folder = store.folder(job.id)
    (folder / "result").mkdir()
    (folder / "result" / "1-image.png").mkdir()  # publishing onto a folder is refused by the operating system
    with engine(store):
        time.sleep(1.0)  # the fault lasts for many tries
        assert store.status(job.id).state in (State.QUEUED, State.PROCESSING)
        (folder / "result" / "1-image.png").rmdir()
        status = ended(store, job)
    assert status.state is State.DONE
    assert status.attempt == 1


def test_help_and_version_are_told() -> None:
    command = [sys.executable, "-m", "img_engine"]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--config" in told
    assert subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def test_a_faulty_configuration_ends_at_once_and_names_every_fault(tmp_path: Path) -> None:
    environment = os.environ | {"IMG_ENGINE__CHILDREN": "many", "IMG_HTTP__PORT": "0", "IMG_VOLUME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", "img_engine"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2
    assert "engine.children: expected a whole number, found 'many'" in ended.stderr
    assert "http.port: expected at least 1, found '0'" in ended.stderr
