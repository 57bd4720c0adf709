"""Both services over a real broker and a real object store: what a client sees is what it sees on one machine."""

from __future__ import annotations

import hashlib
import signal
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from celery import Celery
from img_client import ImgError
from img_cluster.celery_app import TASK
from img_contract.job.outcome import State
from img_contract.testing import until
from img_testing.cluster import Clients, Cluster, Replica
from img_testing.web import web
from img_testing.witness import TINY, rounds

pytestmark = pytest.mark.cluster


def claimed(cluster: Cluster, job_id: str) -> bool:
    return any(event["id"] == job_id for event in cluster.events("job_claimed"))


def test_a_job_goes_from_any_replica_to_any_engine_and_its_result_comes_back(cluster: Cluster, photo: bytes) -> None:
    replicas = [cluster.start_rest(), cluster.start_rest()]
    engines = [cluster.start_engine(), cluster.start_engine()]
    clients = Clients(cluster, lambda: replicas)
    first = [clients.insist(photo, width=200) for _ in range(20)]
    statuses = clients.verdict()
    assert {status.attempt for status in statuses.values()} == {1}
    # Flower and `celery inspect` see the engines, by Celery's remote control.
    app = Celery("inspecting", broker=cluster.broker.url, set_as_current=False)
    until(lambda: len(app.control.ping(timeout=1.0)) == len(engines), why="the engines answer no ping")
    app.close()
    # What a browser asks of a result: a part of it, and whether it has changed.
    whole = replicas[0].client.fetch(first[0])
    part = _get(replicas[1], first[0], {"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    again = _get(replicas[1], first[0], {"If-None-Match": part.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert replicas[0].client.health()
    # Every replica tells of all engines.
    names = [engine.name for engine in replicas[0].client.stats().engines]
    assert len(names) == len(engines)
    for replica in replicas:
        until(
            lambda one=replica: all(f'engine="{name}"' in _metrics(one) for name in names), why="an engine is missing"
        )
        assert "\nimg_engines_alive 2.0\n" in _metrics(replica)


def _metrics(replica: Replica) -> str:
    return web.get(f"http://127.0.0.1:{replica.port}/metrics", timeout=60).text


def _get(replica: Replica, job_id: str, headers: dict[str, str]) -> Any:
    return web.get(f"http://127.0.0.1:{replica.port}/resize/{job_id}", headers=headers, timeout=60)


def test_a_client_is_sent_to_the_store_for_its_result_if_so_configured(cluster: Cluster) -> None:
    replica = cluster.start_rest(IMG_STORE__REDIRECT="true")
    cluster.start_engine()
    clients = Clients(cluster, lambda: [replica])
    job_id = clients.insist()
    (output,) = clients.ended(job_id).outputs
    answer = _get(replica, job_id, {})
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(cluster.store.endpoint)
    fetched = web.get(answer.headers["Location"])
    assert hashlib.sha256(fetched.content).hexdigest() == output.sha256


def test_a_job_is_cancelled_at_any_replica_wherever_it_is(
    cluster: Cluster, slow_photo: bytes, slow: dict[str, Any]
) -> None:
    one, two = cluster.start_rest(), cluster.start_rest()
    clients = Clients(cluster, lambda: [one])
    waiting = clients.insist()
    two.client.cancel(waiting)
    assert clients.status(waiting).status is State.CANCELLED
    cluster.start_engine(IMG_ENGINE__HEARTBEAT_SECONDS="0.5")
    running = clients.insist(slow_photo, **slow)
    until(lambda: claimed(cluster, running), why="nobody took it")
    two.client.cancel(running)
    assert clients.status(running).status is State.CANCELLED
    until(lambda: cluster.events("attempt_cancelled", "claim_void"), why="the child was not stopped")
    clients.insist()
    clients.verdict(ends=("done", "cancelled"))


def test_an_engine_that_stops_gives_back_what_it_cannot_end_and_costs_no_attempt(
    cluster: Cluster, slow_photo: bytes, slow: dict[str, Any]
) -> None:
    replica = cluster.start_rest()
    clients = Clients(cluster, lambda: [replica])
    stopping = cluster.start_engine(IMG_ENGINE__SHUTDOWN_TIMEOUT_SECONDS="0.2")
    jobs = [clients.insist(slow_photo, **slow) for _ in range(3)]
    until(lambda: claimed(cluster, jobs[0]), why="nobody took it")
    assert cluster.kill(stopping, signal.SIGTERM) == 0
    assert cluster.messages() == [3, 0, 0]
    assert {clients.status(job_id).status for job_id in jobs} == {State.QUEUED}
    for job_id in jobs[1:]:  # they would take long
        replica.client.cancel(job_id)
    cluster.start_engine()
    statuses = clients.verdict(ends=("done", "cancelled"))
    assert (statuses[jobs[0]].status, statuses[jobs[0]].attempt) == (State.DONE, 1)


def test_of_two_requests_with_one_key_at_two_replicas_one_makes_a_job(cluster: Cluster) -> None:
    replicas = [cluster.start_rest(), cluster.start_rest()]
    cluster.start_engine()
    clients = Clients(cluster, lambda: replicas)
    for number in range(rounds(5, 100)):
        barrier = threading.Barrier(2)

        def send(replica: Replica, key: str = f"request-{number}", barrier: threading.Barrier = barrier) -> str | None:
            barrier.wait()
            return submit_under(key, replica)

        with ThreadPoolExecutor(2) as threads:
            found = set(threads.map(send, replicas)) - {None}
        # One may have been told that the other is under way; when it asks again, it gets the same job.
        found |= {until(partial(submit_under, f"request-{number}", replica)) for replica in replicas}
        assert len(found) == 1, found
        clients.accepted.append(str(found.pop()))
    clients.verdict()


def submit_under(key: str, replica: Replica) -> str | None:
    """Return the job's guid; None if another request with this key is under way."""
    try:
        return replica.client.submit(TINY, width=8, idempotency_key=key).id
    except ImgError as error:
        if getattr(error, "status", None) != 409:
            raise
        return None


def test_a_long_poll_at_one_replica_is_woken_by_the_end_of_a_job_from_another(
    cluster: Cluster, figure: Callable[[str, str], None]
) -> None:
    one, two = cluster.start_rest(), cluster.start_rest()
    cluster.start_engine()
    clients = Clients(cluster, lambda: [one])
    late = []
    for _ in range(rounds(10, 200)):
        job_id = clients.insist()
        status: Any = two.client.status(job_id, wait=60)
        late.append(time.time() - status.finished_at.timestamp())
        assert status.status is State.DONE
    clients.verdict()
    ends = statistics.quantiles(late, n=20)
    figure("long poll at one replica, submit at the other", f"woken after {ends[9]:.3f} s p50, {ends[18]:.3f} s p95")


def test_what_the_broker_refuses_is_told_and_leaves_nothing(cluster: Cluster) -> None:
    replica = cluster.start_rest()
    clients = Clients(cluster, lambda: [replica])
    cluster.broker.ctl("set_policy", "cap", f"^{cluster.queue}$", '{"max-length": 3}', "--apply-to", "queues")
    try:
        # A quorum queue lets a few more in than the cap says.
        until(lambda: clients.post() is None, why="the cap had no effect")
        assert clients.refused.total() == 1
        assert cluster.pending() == len(clients.accepted)
    finally:
        cluster.broker.ctl("clear_policy", "cap")
    cluster.start_engine()
    clients.insist()
    clients.verdict()


def test_a_message_that_is_no_jobs_and_one_of_an_unknown_job_are_dropped(cluster: Cluster) -> None:
    replica = cluster.start_rest()
    cluster.start_engine()
    app = Celery("stranger", broker=cluster.broker.url, set_as_current=False)
    for argument in ("../../etc/passwd", "5e1f3a9c-0b7d-4c52-9a86-d2f4e7b1c303"):
        app.send_task(TASK, args=(argument,), exchange="", routing_key=cluster.queue, ignore_result=True)
    app.close()
    clients = Clients(cluster, lambda: [replica])
    clients.insist()
    clients.verdict()


def test_the_commands_tell_whether_the_store_is_good_and_the_engine_alive(cluster: Cluster) -> None:
    checked = cluster.run("img-engine", "--check-store", cluster.store.endpoint)
    assert checked.returncode == 0, checked.stderr
    assert "one succeeded, 5 times out of 5" in checked.stdout
    assert cluster.run("img-engine", "--check").returncode == 1
    engine = cluster.start_engine()
    until(lambda: cluster.run("img-engine", "--check").returncode == 0, why="it is not seen")
    assert cluster.kill(engine, signal.SIGTERM) == 0
    assert cluster.run("img-engine", "--check").returncode == 1
    for command in ("img-engine", "img-rest"):
        wrong = {"IMG_STORE__SECRET_KEY": "another secret"}
        refused = cluster.run(command, **wrong)
        assert refused.returncode == 2
        assert "cannot" in refused.stderr
        assert "another secret" not in refused.stderr
