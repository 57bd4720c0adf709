"""Clocks that jump or differ by an hour, and an engine that was frozen past its lease: one extra run at most."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from img_contract.errors import StoreError
from img_contract.job.resize import Resize
from img_contract.notify.memory import MemoryNotifier
from img_contract.testing import until
from img_contract.volume.cleanup import Cleanup
from img_contract.volume.layout import Layout
from img_contract.volume.queue import VolumeWork
from img_contract.volume.store import VolumeJobs
from img_testing.service import Service
from img_testing.witness import (
    TINY,
    Row,
    Witness,
    age,
    all_jobs,
    events,
    go_round,
    job_folder,
    leftovers,
    picture,
    rounds,
)

pytestmark = pytest.mark.faults

HOUR: Final = 3600
SLOW: Final = {"width": 900, "format": "avif"}

ANOTHER_CLOCK: Final = """
import datetime, os, time

shift, real = float(os.environ["SHIFT"]), time.time


class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=shift)


time.time = lambda: real() + shift
datetime.datetime = Shifted
"""
"""What makes a Python process believe in another time of day; libfaketime makes waits of these processes fail."""


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_times_of_another_clock_on_the_volume_change_nothing(
    seconds: int, service: Any, row: Callable[[str], Row]
) -> None:
    """What another host has touched has its time: claims, markers, folders; while a job waits, and while it runs."""
    witness = Witness(service, row("files of a clock that is an hour off"))
    layout = Layout(service.volume)
    ghost, cleanup = VolumeWork(layout, MemoryNotifier(), "ghost", lease_seconds=2), Cleanup(layout, 24 * 3600.0)
    count = rounds(8, 20)
    for number in range(count):
        job_id = witness.insist(picture(400, 300), **SLOW)
        folder = job_folder(service.volume, job_id)
        if number % 2:
            until((folder / "claim.1").exists, why="it was not claimed")
        for path in (service.volume / "pending" / job_id, folder / "claim.1", folder, folder / "source"):
            with suppress(FileNotFoundError):
                age(path, seconds)
        ghost.pending()
        cleanup.run_batch()
        witness.row.add(rounds=1)
    witness.verdict(most_attempts=2)


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_processes_whose_clocks_are_an_hour_apart_work_together(
    seconds: int, make_service: Callable[..., Service], row: Callable[[str], Row], tmp_path: Path
) -> None:
    """One engine's clock is right, the other's is wrong; then img-rest's is."""
    (tmp_path / "sitecustomize.py").write_text(ANOTHER_CLOCK)
    wrong = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]), "SHIFT": str(seconds)}
    service = make_service()
    witness = Witness(service, row("a process whose clock is an hour off"))
    rest = service.start_rest()
    service.launch_engine(**wrong)
    service.launch_engine()
    clocks = [datetime.fromisoformat(event["timestamp"]) for event in events(service.log(), "engine_started")]
    assert abs(abs((clocks[1] - clocks[0]).total_seconds()) - HOUR) < HOUR / 2, "the clocks are the same"
    for _ in range(rounds(5, 20)):
        witness.insist()
    assert service.kill(rest) == -9
    until(lambda: not leftovers(service), why="the process that serves outlived its parent")
    service.start_rest(**wrong)
    for _ in range(rounds(5, 20)):
        witness.insist()
    witness.verdict(most_attempts=1)
    assert service.client.health(ready=True).engines == 2
    witness.row.add(rounds=1)


def test_an_upload_that_looks_an_hour_old_is_refused_not_lost(tmp_path: Path) -> None:
    """An engine whose clock is ahead takes it for a leftover: the client is told to come again."""
    layout = Layout(tmp_path)
    layout.prepare()
    with VolumeJobs(layout, MemoryNotifier()).begin() as submission:
        submission.picture.write(TINY)
        for path in (*tmp_path.glob("incoming/*/source"), *tmp_path.glob("incoming/*")):
            age(path, HOUR + 60)
        go_round(tmp_path)
        with pytest.raises(StoreError):
            submission.commit(filename=None, resize=Resize(width=10))
    assert (layout.markers(), all_jobs(tmp_path)) == ([], [])


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process and all that it has started, and let them go on."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            process.resume()


def test_an_engine_that_was_frozen_past_its_lease_costs_one_more_run_at_most(
    make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    service = make_service()
    witness = Witness(service, row("engine frozen past its lease, then continued"))
    service.start_rest()
    sleeper = service.launch_engine()
    jobs = [witness.insist(picture(1200, 900), **SLOW) for _ in range(20)]
    until(lambda: witness.status(jobs[0]).status != "queued", why="no job was claimed")
    with frozen(sleeper.pid):
        froze = time.time()
        service.launch_engine()
        for job_id in jobs:
            witness.recovered(job_id, froze)
    statuses = witness.verdict(most_attempts=2)
    assert sum(status.attempt == 2 for status in statuses.values()) >= 1, "nothing was in its hands"
    assert sleeper.poll() is None
    log = service.logs / "img-engine-1.log"
    before = len(events(log.read_text(), "job_done"))

    def works_again() -> bool:
        witness.ended(witness.insist())
        return len(events(log.read_text(), "job_done")) > before

    until(works_again, why="the one that was frozen works no more")
    witness.verdict(most_attempts=1)
    witness.row.add(rounds=1)
