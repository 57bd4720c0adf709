"""The engine's loop with a real volume and real children: delivery, retries, cancellation, an orderly end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from img_contract.config import EngineConfig
from img_contract.job.job import Job
from img_contract.job.outcome import FailureCode, State
from img_contract.job.resize import Resize
from img_contract.job.status import JobStatus
from img_contract.memory import MemoryStore
from img_contract.notify.memory import MemoryNotifier
from img_contract.ports import Claim, Jobs, LocalFiles, Work
from img_contract.testing import HANG_SECONDS, until
from img_contract.volume.layout import Layout
from img_contract.volume.queue import VolumeWork
from img_contract.volume.store import VolumeJobs
from img_engine.attempt import Attempts
from img_engine.process.pool import Children
from img_engine.render.task import PictureLimits
from img_engine.worker import Worker
from PIL import Image
from structlog.testing import capture_logs

pytestmark = pytest.mark.long

LIMITS = PictureLimits(pixels=64_000_000, frames=100, memory=2**30, animation_pixels=500_000_000)


@dataclass
class Site:
    """A backend, and what an engine on it works with."""

    jobs: Jobs
    new_work: Callable[[], Work]
    layout: Layout | None = None

    def submit(self, data: bytes, **options: Any) -> Job:
        with self.jobs.begin() as submission:
            submission.picture.write(data)
            resize = Resize.model_validate({"width": 16} | options)
            return submission.commit(filename="picture.png", resize=resize)

    def state(self, job: Job) -> State:
        return self.jobs.status(job.id).state

    def running(self, job: Job) -> None:
        until(lambda: self.state(job) is State.PROCESSING)

    def ended(self, job: Job) -> JobStatus:
        assert self.jobs.wait_ended(job.id, HANG_SECONDS), f"job {job.id} did not end"
        return self.jobs.status(job.id)

    def folder(self, job: Job) -> Path:
        assert self.layout
        return self.layout.folder(job.id)


@pytest.fixture(params=["volume", "memory"])
def site(request: pytest.FixtureRequest) -> Site:
    """Each of the backends."""
    made: Site = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def memory() -> Site:
    store = MemoryStore(lease_seconds=1.0)
    return Site(store, lambda: store.work("engine"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "volume")
    made.prepare()
    return made


@pytest.fixture
def volume(layout: Layout) -> Site:
    notifier = MemoryNotifier()
    return Site(VolumeJobs(layout, notifier), lambda: VolumeWork(layout, notifier, "engine", lease_seconds=1.0), layout)


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 48), "red").save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def slow_picture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Takes seconds: AVIF is slow to encode, and noise slower."""
    path = tmp_path_factory.mktemp("slow") / "slow.png"
    Image.effect_noise((2400, 2000), 90).convert("RGB").save(path, compress_level=1)
    return path.read_bytes()


@contextmanager
def engine(site: Site, *, count: int = 1, **settings: Any) -> Iterator[Worker]:
    config = EngineConfig.model_validate(
        {"heartbeat_seconds": 0.1, "lease_seconds": 1.0, "shutdown_timeout_seconds": 5.0, "job_seconds": 300} | settings
    )
    children = Children(count, config.child_bytes, config.job_seconds)
    worker = Worker("engine", site.new_work(), Attempts(children, LIMITS), count, config, lambda: "")
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(HANG_SECONDS)
        children.stop()
        assert not thread.is_alive()


def children_of_this_process() -> list[psutil.Process]:
    """Rendering processes: grandchildren, since the fork server stands between."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.parent() is not None and process.ppid() != os.getpid() and process.status() != "zombie"
    ]


def cpu_seconds() -> dict[int, float]:
    """What each child has used, by its process id."""
    return {process.pid: sum(process.cpu_times()[:2]) for process in children_of_this_process()}


def start_rendering(site: Site, picture: bytes, slow_picture: bytes, **options: Any) -> tuple[Job, list[int]]:
    """Submit a job that takes seconds; return it once children are at its pixels, with their process ids."""
    site.ended(site.submit(picture))  # so that the children have started
    idle = cpu_seconds()
    job = site.submit(slow_picture, width=2000, format="avif", **options)
    site.running(job)
    return job, until(lambda: [pid for pid, used in cpu_seconds().items() if used > idle.get(pid, used) + 0.2])


def test_a_job_is_rendered(site: Site, picture: bytes) -> None:
    with engine(site):
        job = site.submit(picture)
        status = site.ended(job)
    assert status.state is State.DONE
    result = site.jobs.open_result(status)
    with result.file, Image.open(result.file) as image:
        assert image.size == (result.output.width, result.output.height) == (16, 12)


def test_a_job_whose_notification_was_lost_is_found_by_polling(volume: Site, picture: bytes) -> None:
    assert volume.layout
    unheard = VolumeJobs(volume.layout, MemoryNotifier())
    with engine(volume):
        job = Site(unheard, volume.new_work).submit(picture)
        assert volume.ended(job).state is State.DONE


def test_jobs_that_waited_for_an_engine_are_done_in_order(site: Site, picture: bytes) -> None:
    jobs = [site.submit(picture) for _ in range(12)]
    with engine(site):
        finished = [site.ended(job) for job in jobs]
    assert all(status.state is State.DONE for status in finished)
    starts = [status.started_at for status in finished]
    assert starts == sorted(starts, key=str)


def test_a_job_is_rendered_once_however_often_it_is_notified(picture: bytes, layout: Layout) -> None:
    notifier = MemoryNotifier()
    site = Site(VolumeJobs(layout, notifier), lambda: VolumeWork(layout, notifier, "engine"), layout)
    with engine(site, count=2):
        job = site.submit(picture)
        for _ in range(10):
            notifier.notify(job)
        assert site.ended(job).attempt == 1
        site.ended(site.submit(picture))
    assert [path.name for path in site.folder(job).glob("claim.*")] == ["claim.1"]


def test_a_corrupt_picture_fails_at_once_and_the_next_is_served(site: Site, picture: bytes) -> None:
    with engine(site):
        corrupt = site.submit(picture[:60])
        good = site.submit(picture)
        status = site.ended(corrupt)
        assert site.ended(good).state is State.DONE
    assert status.state is State.FAILED
    assert status.attempt == 1
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert status.outcome.error.code in (FailureCode.PICTURE_CORRUPT, FailureCode.PICTURE_UNSUPPORTED)


@pytest.mark.parametrize("make", [os.mkfifo, lambda at: os.symlink("/etc/passwd", at)])
def test_an_upload_that_is_no_regular_file_fails_as_missing(
    make: Callable[[Path], None], volume: Site, picture: bytes
) -> None:
    site = volume
    job = site.submit(picture)
    source = site.folder(job) / "source"
    source.unlink()
    make(source)
    with engine(site):
        status = site.ended(job)
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert (status.outcome.error.code, status.attempt) == (FailureCode.JOB_DAMAGED, 1)


def test_a_child_that_is_killed_costs_an_attempt_and_the_job_is_done_by_another(
    site: Site, picture: bytes, slow_picture: bytes
) -> None:
    with engine(site):
        job, victims = start_rendering(site, picture, slow_picture)
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        status = site.ended(job)
    assert status.state is State.DONE
    assert status.attempt == 2


def test_children_that_die_idle_are_replaced_and_no_attempt_is_charged(site: Site, picture: bytes) -> None:
    """As when the kernel needs memory. Several times, since the pool is made anew each time."""
    with engine(site, count=2):
        for _ in range(3):
            assert site.ended(site.submit(picture)).state is State.DONE
            victims = children_of_this_process()
            assert victims
            for victim in victims:
                victim.kill()
        jobs = [site.submit(picture) for _ in range(5)]
        ends = [site.ended(job) for job in jobs]
    assert {(status.state, status.attempt) for status in ends} == {(State.DONE, 1)}


def test_a_job_that_outruns_its_time_fails_after_its_attempts_with_the_reason(
    site: Site, slow_picture: bytes, picture: bytes
) -> None:
    with engine(site, job_seconds=0.3):
        job = site.submit(slow_picture, width=2000, format="avif")
        status = site.ended(job)
    with engine(site):  # on a busy machine a small picture may take longer than that, too
        assert site.ended(site.submit(picture)).state is State.DONE
    assert (status.state, status.attempt) == (State.FAILED, 3)
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert status.outcome.error.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert "longer than 0.3 seconds" in status.outcome.error.detail


def test_a_picture_that_takes_its_time_in_work_fails_at_once(
    site: Site, slow_picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take it again: only who was stopped by the clock, perhaps on a busy machine, is tried again."""
    monkeypatch.setattr("img_engine.process.pool._CPU_SHARE", 0.01)  # 3 s: a busy machine's clock comes later
    job = site.submit(slow_picture, width=2400, format="avif", effort=10)
    with engine(site):
        status = site.ended(job)
    assert status.outcome is not None
    assert status.outcome.error is not None
    assert (status.outcome.error.code, status.attempt) == (FailureCode.TOO_SLOW, 1)
    assert "3 seconds of CPU time" in status.outcome.error.detail


def test_a_cancelled_job_is_stopped_without_an_error_and_the_next_is_served(
    site: Site, slow_picture: bytes, picture: bytes
) -> None:
    with capture_logs() as logs, engine(site):
        job, _ = start_rendering(site, picture, slow_picture, effort=10)
        site.jobs.cancel(job.id)
        assert site.ended(site.submit(picture)).state is State.DONE, "the child went on with a cancelled picture"
    assert site.state(job) is State.CANCELLED
    assert [line for line in logs if line["log_level"] in ("warning", "error")] == []


def test_a_job_that_is_cancelled_before_its_upload_is_read_is_no_error(volume: Site, picture: bytes) -> None:
    job = volume.submit(picture)
    claim = volume.new_work().next(0)
    assert claim is not None
    volume.jobs.cancel(job.id)
    children = Children(1, 2**30, 30)
    with capture_logs() as logs:
        Attempts(children, LIMITS).attempt(claim)
    children.stop()
    assert [line["event"] for line in logs] == ["job_claimed", "claim_void"]
    assert volume.state(job) is State.CANCELLED


class ClaimWithoutPlace:
    """A claim whose results cannot be written for a reason that no code of the child expects: a NUL in their name."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim

    def __getattr__(self, name: str) -> Any:
        return getattr(self._claim, name)

    @contextmanager
    def files(self) -> Iterator[LocalFiles]:
        with self._claim.files() as files:
            yield replace(files, target=files.target.with_name("a\0b"))


def test_a_defect_in_a_child_costs_an_attempt_at_once_and_is_named(memory: Site, picture: bytes) -> None:
    job, work = memory.submit(picture), memory.new_work()
    children = Children(1, 2**30, 30)
    with capture_logs() as logs:
        for _ in range(3):
            claim: Any = ClaimWithoutPlace(until(lambda: work.next(0)))
            Attempts(children, LIMITS).attempt(claim)
    children.stop()
    assert work.next(0) is None
    error = memory.ended(job).outcome.error  # type: ignore[union-attr]
    assert error is not None
    assert error.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert "a defect of the engine: ValueError" in error.detail
    assert [line["event"] for line in logs].count("attempt_crashed") == 3


def test_an_orderly_stop_finishes_what_runs_and_charges_nothing(
    site: Site, slow_picture: bytes, picture: bytes
) -> None:
    with engine(site, shutdown_timeout_seconds=30) as worker:
        running = site.submit(slow_picture, width=900)
        site.running(running)
        waiting = site.submit(picture)
        worker.stop()
    assert site.state(running) is State.DONE
    assert site.state(waiting) is State.QUEUED
    assert site.jobs.engines() == []


def test_a_stop_that_cannot_wait_gives_the_claim_back(site: Site, slow_picture: bytes) -> None:
    with engine(site, shutdown_timeout_seconds=0.1) as worker:
        job = site.submit(slow_picture, width=2000, format="avif")
        site.running(job)
        worker.stop()
    assert site.state(job) is State.QUEUED
    again = site.new_work().next(0)
    assert again is not None
    assert again.attempt == 1


def test_a_full_disk_waits_and_costs_no_attempt(volume: Site, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img_engine.attempt.FAULT_SECONDS", 0.05)
    job = volume.submit(picture)
    result = volume.folder(job) / "result" / "1-image.png"
    result.mkdir(parents=True)  # publishing onto a folder is refused by the operating system
    with capture_logs() as logs, engine(volume):
        until(lambda: len([line for line in logs if line["event"] == "store_fault"]) > 3)
        assert not volume.jobs.wait_ended(job.id, 0)
        result.rmdir()
        status = volume.ended(job)
    assert (status.state, status.attempt) == (State.DONE, 1)


def test_a_disk_that_fails_a_child_is_told_with_the_step_and_the_path(
    volume: Site, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("img_engine.attempt.FAULT_SECONDS", 0.05)
    job = volume.submit(picture)
    target = volume.folder(job) / "result" / ".1.engine.part"
    target.parent.mkdir(parents=True)
    file = Path(f"{target}0")
    file.symlink_to("/dev/full")
    with capture_logs() as logs, engine(volume):
        until(lambda: any(line["event"] == "store_fault" for line in logs))
        file.unlink()
        status = volume.ended(job)
    assert (status.state, status.attempt) == (State.DONE, 1)
    reasons = {line["reason"] for line in logs if line["event"] == "store_fault"}
    step = "cannot read the picture or write its results"
    assert reasons == {f"{step}: {target}: No space left on device"}


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
