"""A picture crashes its child, has it killed, or hangs it: the engine lives, and so do the others' pictures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from img_contract.testing import HANG_SECONDS
from img_testing.service import Service
from img_testing.witness import FULL, Row, Witness, events, picture, rounds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

JOB_SECONDS = rounds(2, 3)
SEGFAULT, OUT_OF_MEMORY, HANG = (13, 13), (13, 17), (17, 13)


def test_a_child_that_dies_or_hangs_harms_nobody_else(
    make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    service = make_service(
        IMG_ENGINE__JOB_SECONDS=str(JOB_SECONDS),
        IMG_ENGINE__ATTEMPTS="1",
        IMG_ENGINE__CHILDREN="2",
        IMG_FAILPOINTS="child.decoding@13x13=segv,child.decoding@13x17=die,child.decoding@17x13=hang",
    )
    service.start_rest()
    engine = service.start_engine()
    good = Witness(service, row("others beside a child that dies or hangs"))
    for size, name in ((SEGFAULT, "segfaults"), (OUT_OF_MEMORY, "is killed"), (HANG, "hangs, SIGTERM ignored")):
        bad = Witness(service, row(f"child {name}"))
        count = rounds(2, 20)
        for _ in range(count):
            job_id = bad.insist(picture(*size))
            others = [good.insist() for _ in range(5)]
            assert bad.ended(job_id).status == "failed"
            for other in others:
                assert good.ended(other).status == "done"
        bad.row.add(rounds=count)
        statuses = bad.verdict(ends=["failed"], codes=["attempts_exhausted"])
        reason = {SEGFAULT: "signal 11", OUT_OF_MEMORY: "signal 9", HANG: f"longer than {JOB_SECONDS} seconds"}[size]
        assert [status for status in statuses.values() if reason not in status.error.detail] == []
        if size == HANG:
            overruns = _overruns(service, set(statuses))
            bad.row.add(remark=f"killed {min(overruns):.2f} to {max(overruns):.2f} s after its limit")
            assert max(overruns) <= HANG_SECONDS, overruns  # by itself it would hang for ever
    good.verdict(most_attempts=1)
    assert engine.poll() is None


def _overruns(service: Service, jobs: set[str]) -> list[float]:
    """Seconds past their limit at which hanging children were told to be dead, by the engine's log."""
    log = service.log()
    began, ended = (
        {event["id"]: datetime.fromisoformat(event["timestamp"]) for event in events(log, name) if event["id"] in jobs}
        for name in ("job_claimed", "attempt_spent")
    )
    return [(ended[job_id] - began[job_id]).total_seconds() - JOB_SECONDS for job_id in jobs]


def test_pictures_that_kill_their_child_fail_and_the_good_ones_do_not_wait_for_them(
    make_service: Callable[..., Service], row: Callable[[str], Row]
) -> None:
    service = make_service(IMG_FAILPOINTS="child.decoding@13x13=die", IMG_ENGINE__CHILDREN="2")
    service.start_rest()
    service.start_engine()
    count, poison = rounds(60, 300), rounds(3, 10)
    good = Witness(service, row(f"{poison} poison pictures among {count} good ones"))
    bad = Witness(service, row("poison pictures"))

    def run(every: int) -> float:
        for number in range(count):
            good.insist(picture(320, 240), width=160)
            if every and number % every == every // 2:
                bad.insist(picture(13, 13))
        statuses = good.verdict(most_attempts=1)
        return _p95([_seconds(status) for status in statuses.values()])

    run(0)  # every child and thread is up
    clean = run(0)
    poisoned = run(count // poison)
    statuses = bad.verdict(ends=["failed"], codes=["attempts_exhausted"])
    assert len(statuses) == poison
    assert {status.attempt for status in statuses.values()} == {3}
    assert {"signal 9" in status.error.detail for status in statuses.values()} == {True}
    good.row.add(rounds=1, remark=f"p95 {clean:.3f} s without them, {poisoned:.3f} s with them")
    bad.row.add(rounds=poison)
    if FULL:
        assert poisoned <= 2 * clean + 0.1


def _seconds(status: Any) -> float:
    return float((status.finished_at - status.submitted_at).total_seconds())


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]
