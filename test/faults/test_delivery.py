"""Jobs reach an engine without the notifier and after an engine's death, and once however often they are told of."""

from __future__ import annotations

import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable

import pytest
import zmq
from img_contract.testing import free_port, until
from img_testing.service import Service
from img_testing.witness import Row, Witness, events, job_folder, rounds

pytestmark = pytest.mark.faults

NOT_NOTIFIED = "engines_not_notified"
SLOWER = 10
"""A post that meets the fault may take so many times as long as one that does not, on the same machine at that time."""


def test_a_notifier_that_is_down_costs_no_job_and_heals(
    make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    """Another program has its address: nothing can be notified, until it goes."""
    port = free_port()
    service = make_service(
        IMG_NOTIFIER__BIND=f"tcp://127.0.0.1:{port}", IMG_NOTIFIER__CONNECT=f"tcp://127.0.0.1:{port}"
    )
    witness = Witness(service, row("notifier down"))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        service.start_rest()
        service.launch_engine()
        ends = time.monotonic() + rounds(5, 60)
        down: list[float] = []
        while time.monotonic() < ends or len(down) < 5:
            began = time.monotonic()
            job_id = witness.insist()
            down.append(time.monotonic() - began)
            witness.recovered(job_id, time.time())
        told = [{event["id"] for event in events(service.log(), name)} for name in ("job_accepted", NOT_NOTIFIED)]
        assert told[0] == told[1]
    witness.verdict(most_attempts=1)

    def notified() -> bool:
        job_id = witness.insist()
        witness.ended(job_id)
        return job_id not in {event["id"] for event in events(service.log(), NOT_NOTIFIED)}

    until(notified, why="the notifier does not come back")
    healed = []
    for _ in down:
        began = time.monotonic()
        job_id = witness.insist()
        healed.append(time.monotonic() - began)
        witness.ended(job_id)
    assert statistics.median(down) <= SLOWER * statistics.median(healed)
    witness.verdict(most_attempts=1)
    witness.row.add(rounds=1, remark=f"slowest post {max(down):.2f} s")


def test_jobs_wait_for_an_engine_however_it_went(
    make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    """None at first; then one that is killed with the queue before it."""
    count = rounds(60, 500)
    service = make_service()
    service.start_rest()
    witness = Witness(service, row(f"no engine, then one killed with {count} queued"))
    times = []
    for _ in range(count):
        began = time.monotonic()
        witness.insist()
        times.append(time.monotonic() - began)
    assert statistics.median(times[-count // 4 :]) <= SLOWER * statistics.median(times[: count // 4])
    assert {witness.status(job_id).status for job_id in witness.accepted[::10]} == {"queued"}
    engine = service.launch_engine()
    until(lambda: events(service.log(), "job_claimed"), why="no job was claimed")
    assert service.kill(engine) == -9
    killed = time.time()
    service.launch_engine()
    for job_id in list(witness.accepted):
        witness.recovered(job_id, killed)
    witness.verdict(most_attempts=2)
    witness.row.add(rounds=1, remark=f"slowest post {max(times):.2f} s")


def test_a_job_that_is_told_of_five_times_to_three_engines_is_rendered_once(
    make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    """img-rest notifications where nobody listens; here is the notifier that the engines hear."""
    port = free_port()
    service = make_service(IMG_NOTIFIER__CONNECT=f"tcp://127.0.0.1:{port}", IMG_ENGINE__CHILDREN="1")
    witness = Witness(service, row("each job told of five times to three engines"))
    with zmq.Context() as context, context.socket(zmq.PUSH) as notifier:
        notifier.setsockopt(zmq.LINGER, 0)
        notifier.setsockopt(zmq.SNDTIMEO, 30_000)
        notifier.bind(f"tcp://127.0.0.1:{port}")
        service.start_rest()
        for _ in range(3):
            service.launch_engine()
        for _ in range(rounds(40, 100)):
            job_id = witness.insist()
            message = (job_folder(service.volume, job_id) / "job.json").read_bytes()
            for _ in range(5):
                notifier.send(message)
        jobs = set(witness.accepted)
        witness.verdict(most_attempts=1)
    for name in ("job_claimed", "job_done"):
        told = Counter(event["id"] for event in events(service.log(), name) if event["id"] in jobs)
        assert set(told) == jobs
        assert set(told.values()) == {1}, f"{name}: some more than once"
    shares = [len(events(path.read_text(), "job_done")) for path in sorted(service.logs.glob("img-engine-*"))]
    witness.row.add(rounds=5, remark=f"shares of the engines {shares}")
    assert all(shares), "not all of them were told"
