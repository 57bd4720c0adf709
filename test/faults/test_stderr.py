"""A stderr that takes nothing costs lines of the log: no job, no attempt, no answer, and no process hangs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest
from img_contract.job.outcome import State
from img_contract.job.resize import Resize
from img_contract.notify.memory import MemoryNotifier
from img_contract.testing import until
from img_contract.volume.layout import Layout
from img_contract.volume.store import VolumeJobs
from img_testing.service import BIN, Service
from img_testing.witness import TINY

pytestmark = pytest.mark.faults

MakeStderr = Callable[[], AbstractContextManager[int | None]]


@contextmanager
def stderr_whose_reader_has_gone() -> Iterator[int]:
    """That of `| head -n 1` after its line."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def stderr_that_nobody_reads() -> Iterator[int]:
    """A pipe that is full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


@contextmanager
def stderr_on_a_full_disk() -> Iterator[int]:
    with Path("/dev/full").open("wb", buffering=0) as file:
        yield file.fileno()


@contextmanager
def no_stderr() -> Iterator[None]:
    yield None


STDERRS: list[MakeStderr] = [stderr_whose_reader_has_gone, stderr_that_nobody_reads, stderr_on_a_full_disk, no_stderr]


@contextmanager
def running(service: Service, command: str, stderr: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """Run one part of a service with another stderr, or none at all; stop it at the end."""
    shell = f"exec {BIN / command}" + (" 2>&-" if stderr is None else "")
    environment = os.environ | service._settings
    process = subprocess.Popen(["bash", "-c", shell], env=environment, stderr=stderr, stdout=stderr)
    service._started.append(process)
    yield process
    assert service.kill(process, 15) == 0


@pytest.mark.parametrize("make_stderr", STDERRS)
def test_jobs_are_done_in_their_first_attempt(make_service: Callable[..., Service], make_stderr: MakeStderr) -> None:
    service = make_service(IMG_ENGINE__CHILDREN="2", IMG_LOG_LEVEL="debug")
    layout = Layout(service.volume)
    layout.prepare()
    jobs = VolumeJobs(layout, MemoryNotifier())
    ids = [submit(jobs) for _ in range(40)]
    with make_stderr() as stderr, running(service, "img-engine", stderr) as engine:
        until(lambda: not layout.markers(), why="the jobs did not end")
        for child in psutil.Process(engine.pid).children(recursive=True):
            assert os.readlink(f"/proc/{child.pid}/fd/2") == os.devnull, "a library may write there, and wait"
    assert {(jobs.status(job_id).state, jobs.status(job_id).attempt) for job_id in ids} == {(State.DONE, 1)}


def test_children_of_a_new_fork_server_do_not_write_to_a_full_pipe_either(make_service: Callable[..., Service]) -> None:
    service = make_service(IMG_ENGINE__CHILDREN="2")
    layout = Layout(service.volume)
    layout.prepare()
    jobs = VolumeJobs(layout, MemoryNotifier())
    with stderr_that_nobody_reads() as stderr, running(service, "img-engine", stderr) as engine:
        until(lambda: list(layout.engines.iterdir()))
        family = psutil.Process(engine.pid).children()
        server = next(one for one in family if "forkserver" in " ".join(one.cmdline()))
        for process in (server, *server.children()):
            process.kill()
        ids = [submit(jobs) for _ in range(4)]
        until(lambda: not layout.markers(), why="the jobs did not end")
        renewed = next(one for one in psutil.Process(engine.pid).children() if one not in family)
        until(
            lambda: {os.readlink(f"/proc/{child.pid}/fd/2") for child in renewed.children()} == {os.devnull},
            why="a library may write there, and wait",
        )
    assert {jobs.status(job_id).state for job_id in ids} == {State.DONE}


@pytest.mark.parametrize("make_stderr", STDERRS)
def test_every_upload_is_answered_by_what_was_done(
    make_service: Callable[..., Service], make_stderr: MakeStderr
) -> None:
    service = make_service(IMG_LOG_LEVEL="debug")
    with make_stderr() as stderr, running(service, "img-rest", stderr):
        until(service.alive, why="img-rest did not answer")
        accepted = {service.post(TINY, width=8) for _ in range(40)}
        answers = {
            service.client._http.post("/resize", content=b"x", headers={"Content-Type": "image/png"}).status_code
            for _ in range(3)
        }
    assert answers == {415}
    assert {marker.name for marker in Layout(service.volume).markers()} == accepted
    assert len(accepted) == 40


@pytest.mark.parametrize("command", ["img-engine", "img-rest"])
def test_a_fault_of_the_configuration_ends_a_command_whose_stderr_nobody_reads(command: str) -> None:
    with stderr_that_nobody_reads() as stderr:
        process = subprocess.Popen([BIN / command], env=os.environ | {"IMG_HTTP__PORT": "0"}, stderr=stderr)
        assert process.wait(120) == 2


def test_an_engine_that_was_killed_leaves_no_process_behind_a_full_pipe(make_service: Callable[..., Service]) -> None:
    service = make_service(IMG_ENGINE__CHILDREN="2")
    with stderr_that_nobody_reads() as stderr:
        environment = os.environ | service._settings
        engine = subprocess.Popen([BIN / "img-engine"], env=environment, stderr=stderr)
        until(lambda: list((service.volume / "engines").glob("*")))
        family = psutil.Process(engine.pid).children(recursive=True)
        service.kill(engine)
        assert psutil.wait_procs(family, timeout=30)[1] == []


def submit(jobs: VolumeJobs) -> str:
    with jobs.begin() as submission:
        submission.picture.write(TINY)
        return submission.commit(filename=None, resize=Resize(width=8)).id
