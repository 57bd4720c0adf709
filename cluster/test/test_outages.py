"""A store that is slow, refuses or loses its answers: no false 202, no attempt charged, and it heals by itself.

All of it is seen through a proxy in front of the real store, by one img-rest and one engine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from img_client import Unavailable
from img_cluster.local import Broker, ObjectStore
from img_contract.testing import until
from img_testing.cluster import Clients, Cluster, Figure, Replica
from img_testing.faulty_store import FaultyStore, faulty
from img_testing.witness import FULL, TINY

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("outages")]  # one worker has the site

UPLOADING = ("PUT .*/source$", "PUT .*/pending/", "PUT .*/job.json$")
"""What a submission writes, in this order."""
RENDERING = (
    "GET .*/job.json$",
    "PUT .*/claim.1$",
    "GET .*/source$",
    "PUT .*/result/",
    "PUT .*/outcome.json$",
    "DELETE .*/pending/",
)
"""What an engine asks of the store for a job, in this order."""
ANYTHING = ""
SOON = 5
"""Requests of a kind that lose their answers before one is answered; obstore sends each six times."""


@dataclass
class Site:
    """The proxy, what runs behind it, and a client of it."""

    proxy: FaultyStore
    cluster: Cluster
    replica: Replica
    clients: Clients

    def all_in_one_attempt(self) -> dict[str, Any]:
        statuses = self.clients.verdict()
        assert {status.attempt for status in statuses.values()} == {1}
        self.clients.accepted.clear()
        return statuses


@pytest.fixture(scope="module")
def running(
    store_server: ObjectStore, broker_server: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with ExitStack() as cleaning:
        proxy = cleaning.enter_context(faulty(store_server.endpoint))
        cluster = Cluster(
            store_server,
            broker_server,
            tmp_path_factory.mktemp("outages"),
            IMG_STORE__ENDPOINT=proxy.url,
            IMG_STORE__TIMEOUT_SECONDS="20",
            IMG_QUEUE__LOST_SECONDS="5",
            IMG_ENGINE__HEARTBEAT_SECONDS="1",
            IMG_ENGINE__CHILDREN=str(len(RENDERING)),
        )
        cleaning.callback(cluster.kill_all)
        replica = cluster.start_rest()
        cluster.start_engine()
        yield Site(proxy, cluster, replica, Clients(cluster, lambda: [replica]))


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    running.proxy.heal()
    running.clients.accepted.clear()
    running.clients.refused.clear()


def test_a_slow_store_makes_jobs_slow_and_nothing_else(site: Site, figure: Figure) -> None:
    site.proxy.delay_seconds = 2.0 if FULL else 0.2
    with ThreadPoolExecutor(8) as threads:
        posted = list(threads.map(lambda _: site.clients.post(), range(8)))
    assert all(posted), site.clients.refused
    statuses = site.all_in_one_attempt()
    figure(
        f"each request to the store takes {site.proxy.delay_seconds} s more",
        f"{len(statuses)} of 8 jobs done, each in its first attempt",
    )


def test_a_store_that_answers_503_for_a_while_costs_no_attempt(
    site: Site, figure: Figure, slow_photo: bytes, slow: dict[str, Any]
) -> None:
    """One job is being rendered when it begins, others wait."""
    running = site.clients.insist(slow_photo, **slow)
    until(lambda: site.clients.status(running).status == "processing", why="it was not begun")
    waiting = [site.clients.insist() for _ in range(3)]
    fault = site.proxy.add(ANYTHING, 503)
    over = threading.Event()
    timer = threading.Timer(60 if FULL else 5, over.set)
    timer.start()
    try:
        while not over.is_set():
            assert site.clients.post() is None, "a job was accepted that nobody has"
            for ask in (site.replica.client.status, site.replica.client.fetch, site.replica.client.cancel):
                with pytest.raises(Unavailable) as told:
                    ask(waiting[0])
                assert (told.value.status, told.value.code) == (503, "volume_unavailable")
                assert told.value.retry_after
    finally:
        timer.cancel()
        site.proxy.heal()
    assert fault.met
    refused = site.clients.refused.total()
    site.clients.insist()
    statuses = site.all_in_one_attempt()
    assert {running, *waiting} <= set(statuses)
    figure(
        f"the store answers 503 for {60 if FULL else 5} s",
        f"{refused} uploads refused with 503, {len(statuses)} jobs done, each in its first attempt",
    )


@pytest.mark.parametrize("step", UPLOADING)
def test_an_upload_whose_object_the_store_refuses_is_no_job(site: Site, step: str) -> None:
    fault = site.proxy.add(step, 403)
    assert site.clients.post() is None
    assert set(site.clients.refused) == {"volume_unavailable"}
    assert fault.met
    assert site.cluster.pending() == 0
    site.proxy.heal()
    site.clients.insist()
    site.all_in_one_attempt()


def test_jobs_one_of_whose_objects_the_store_refuses_wait_and_others_do_not(site: Site, figure: Figure) -> None:
    """The first job is refused its first object, the second its second, and so on."""
    faults = []
    for step in RENDERING:
        faults.append(site.proxy.add(step, 403, one_key=True))
        site.clients.accepted.append(site.replica.client.submit(TINY, width=8, idempotency_key="").id)
        until(lambda: faults[-1].met, why=f"the engine did not come to {step}")
    stuck = site.clients.accepted[:]
    site.clients.ended(site.clients.insist())
    until(lambda: all(fault.met > 1 for fault in faults), why="it is not tried again")
    assert not any(site.cluster.jobs.look(job_id).ended for job_id in stuck[:-1])
    site.proxy.heal()
    site.all_in_one_attempt()
    figure("the store refuses one object of a job, each in turn", "that job waits, others are done; no attempt charged")


def test_answers_that_are_lost_cost_nothing(site: Site, figure: Figure) -> None:
    """The store has done what it was asked, and the connection breaks: it is asked again, or found to be done."""
    for times in (1, SOON):
        faults = [site.proxy.add(step, times=times) for step in (*UPLOADING, *RENDERING)]
        site.clients.insist()
        site.all_in_one_attempt()
        assert all(fault.met for fault in faults), faults
        site.proxy.heal()
    figure("the answer to each kind of request is lost, up to five times in a row", "done in its first attempt")


@pytest.mark.parametrize("step", [*UPLOADING, "PUT .*/idempotency/"])
def test_an_upload_that_the_store_never_answers_is_no_job_and_may_be_sent_again(site: Site, step: str) -> None:
    fault = site.proxy.add(step)
    key = f"a-request-that-meets-{fault.pattern}".replace(" ", "-")
    with pytest.raises(Unavailable) as told:
        site.replica.client.submit(TINY, width=8, idempotency_key=key)
    assert (told.value.status, told.value.code) == (503, "volume_unavailable")
    assert fault.met > 1
    assert site.cluster.pending() == 0
    site.proxy.heal()
    site.clients.accepted.append(site.replica.client.submit(TINY, width=8, idempotency_key=key).id)
    site.all_in_one_attempt()
