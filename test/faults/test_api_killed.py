"""img-rest is killed at each step of taking an upload: no 202 is without its job, and nothing stays behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from img_contract.job.query import JobQuery
from img_contract.notify.memory import MemoryNotifier
from img_contract.testing import until
from img_contract.volume.layout import Layout
from img_contract.volume.store import VolumeJobs
from img_testing.service import Service
from img_testing.witness import Row, Witness, age_leftovers, all_jobs, go_round, leftovers, rounds

pytestmark = pytest.mark.faults

POINTS = (
    "upload.receiving",
    "submission.flushed",
    "submission.recorded",
    "submission.renamed",
    "submission.marked",
    "notifier.notified",
    "answer.ready",
)


@pytest.fixture(scope="module")
def with_engine(standing: Callable[..., Service]) -> Service:
    service = standing()
    service.start_rest()
    service.start_engine()
    assert service.rest
    service.kill(service.rest)
    return service


def listed(service: Service) -> set[str]:
    """Return the guids on all pages of the list of jobs."""
    jobs, found, cursor = VolumeJobs(Layout(service.volume), MemoryNotifier()), set[str](), None
    while True:
        page = jobs.list(JobQuery(), 200, cursor)
        found |= {status.id for status in page.jobs}
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize("point", POINTS)
def test_an_api_that_is_killed_leaves_no_202_without_a_job(
    point: str, with_engine: Any, row: Callable[[str], Row]
) -> None:
    service = with_engine
    witness = Witness(service, row(f"img-rest killed at {point}"))
    killed = 0.0
    for _ in range(rounds(1, 20)):
        until(lambda: not leftovers(service), why="the process that serves outlived its parent")
        rest = service.start_rest(IMG_FAILPOINTS=f"{point}#2=kill")
        while witness.post():  # the first is what a client tries again, the second meets the fault
            witness.row.add(recovery=time.time() - killed if killed else 0)
            killed = 0.0
        assert rest.wait(30) == -9
        killed = time.time()
        witness.row.add(rounds=1)
    until(lambda: not leftovers(service), why="the process that serves outlived its parent")
    service.start_rest()
    witness.insist()
    witness.row.add(recovery=time.time() - killed)
    age_leftovers(service.volume)
    go_round(service.volume)
    assert list((service.volume / "incoming").iterdir()) == []
    undone = [job for job in all_jobs(service.volume) if job.name not in witness.accepted]
    until(lambda: all((job / "outcome.json").exists() for job in undone), why="a job nobody was told of stays undone")
    witness.verdict(most_attempts=1)
    assert {job.name for job in all_jobs(service.volume)} == listed(service)
    assert set(witness.refused) == {"connection"}
    service.kill(service.rest)
