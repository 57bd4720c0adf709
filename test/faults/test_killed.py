"""img-engine is killed at each step of a job, and both at any moment under load: all is done, whole, once."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import psutil
import pytest
from img_contract.testing import until
from img_testing.service import Service
from img_testing.witness import Row, Witness, age_leftovers, end, go_round, in_parallel, leftovers, picture, rounds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

POINTS = (
    "job.received",
    "claim.taken",
    "child.decoding",
    "child.encoded",
    "publish.starting",
    "publish.renamed",
    "outcome.written",
)

DEFAULTS = {"IMG_ENGINE__HEARTBEAT_SECONDS": "5", "IMG_ENGINE__LEASE_SECONDS": "30"}
CLIENTS = 16


def feed(witness: Witness, engine: Any) -> float:
    """Post until the engine is dead; when that was seen, as a time.time()."""
    while engine.poll() is None:
        job_id = witness.insist()
        while engine.poll() is None and witness.status(job_id, wait=0.5).status != "done":
            pass
    assert engine.wait() == -9
    return time.time()


def killed_at(point: str, service: Service, row: Row) -> None:
    """Each engine redoes what the one before it left, and dies of the job after that; the last one lives."""
    witness = Witness(service, row)
    service.start_rest()
    count = rounds(1, 20)
    engine = service.launch_engine(IMG_FAILPOINTS=f"{point}=kill")
    for number in range(count):
        killed = feed(witness, engine)
        row.add(rounds=1)
        armed = {"IMG_FAILPOINTS": f"{point}#2=kill"} if number + 1 < count else {}
        engine = service.launch_engine(**armed)
        for job_id in witness.accepted:
            if not armed or engine.poll() is None:
                witness.recovered(job_id, killed)
    statuses = witness.verdict()
    if point == "outcome.written":
        assert {status.attempt for status in statuses.values()} == {1}, "what was done was done again"
    end(service)


def by_default_settings(service: Service) -> Row:
    """An engine dies at each of the points at the same time; the one that comes then redoes what all of them left."""
    row = Row("")
    witness = Witness(service, row)
    service.start_rest()
    for point in POINTS:
        feed(witness, service.launch_engine(IMG_FAILPOINTS=f"{point}=kill"))
        row.add(rounds=1)
    killed = time.time()
    service.start_engine()
    for job_id in witness.accepted:
        witness.recovered(job_id, killed)
    witness.verdict()
    return row


@pytest.fixture(scope="module")
def usual(standing: Callable[..., Service]) -> Iterator[Future[Row]]:
    """A round with the default settings, under way beside the other tests of this module: it waits most of the time."""
    service = standing(**DEFAULTS, IMG_ENGINE__CHILDREN="1")
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(by_default_settings, service)


@pytest.mark.usefixtures("usual")
def test_an_engine_that_is_killed_loses_nothing(
    make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    in_parallel(
        *(
            partial(killed_at, point, make_service(IMG_ENGINE__CHILDREN="1"), row(f"img-engine killed at {point}"))
            for point in POINTS
        )
    )


def test_nothing_is_lost_when_both_are_killed_at_random(
    make_service: Callable[..., Service], row: Callable[[str], Row], photo: bytes
) -> None:
    """The slowest recovery is the longest that a job took.

    A job may meet several of the kills, so more attempts are allowed than by default.
    """
    kills, jobs = rounds(10, 100), rounds(200, 2000)
    service = make_service(IMG_ENGINE__ATTEMPTS="50")
    witness = Witness(service, row("both killed at random under 16 clients"))
    chance = random.Random(1)
    sent: dict[str, int] = {}
    pictures = [photo, *(picture(20 + 7 * number, 40, kind) for number in range(5) for kind in ("PNG", "JPEG"))]
    left = iter(range(jobs))
    turn, over = threading.Lock(), threading.Event()

    def client() -> None:
        while not over.is_set():
            with turn:
                number = next(left, None)
            if number is None:
                return
            which = number % len(pictures)
            sent[witness.insist(pictures[which], width=30)] = which

    service.start_rest()
    engine = service.launch_engine()
    with ThreadPoolExecutor(CLIENTS) as clients:
        posting = [clients.submit(client) for _ in range(CLIENTS)]
        try:
            for number in range(kills):
                due = jobs * (number + chance.random()) / kills
                until(partial(_accepted, witness, min(due, jobs)), why="the posts do not get on")
                if chance.random() < 0.5:
                    assert service.rest
                    service.kill(service.rest)
                    until(lambda: not _left_by_api(service), why="the process that serves outlived its parent")
                    service.start_rest()
                else:
                    service.kill(engine)
                    engine = service.launch_engine()
                witness.row.add(rounds=1)
        except BaseException:
            over.set()
            raise
        for one in posting:
            one.result()
    statuses = witness.verdict(most_attempts=50)
    witness.row.add(recovery=max(_seconds(status) for status in statuses.values()))
    made = defaultdict(set)
    for job_id, status in statuses.items():
        made[sent[job_id]].add(status.outputs[0].sha256)
    assert {len(digests) for digests in made.values()} == {1}, "one picture gave different results"
    age_leftovers(service.volume)
    go_round(service.volume)
    until(lambda: not list((service.volume / "incoming").iterdir()), why="leftovers in incoming/")
    until(lambda: not list((service.volume / "pending").iterdir()), why="an adopted job stays undone")


def test_an_engine_that_is_killed_loses_nothing_by_default_settings(
    usual: Future[Row], row: Callable[[str], Row]
) -> None:
    figures, found = row("img-engine killed at every point, default settings"), usual.result()
    figures.add(rounds=found.rounds, jobs=found.jobs, extra=found.extra, recovery=found.slowest)


def _accepted(witness: Witness, due: float) -> bool:
    return len(witness.accepted) >= due


def _seconds(status: Any) -> float:
    return float((status.finished_at - status.submitted_at).total_seconds())


def _left_by_api(service: Service) -> list[psutil.Process]:
    return [process for process in leftovers(service) if any("img-rest" in part for part in process.cmdline())]
