"""What every backend promises of lists of jobs, of positions and of the totals, through its ports alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from img_contract.errors import UnknownCursor
from img_contract.job.job import Job
from img_contract.job.outcome import Facts, Failure, FailureCode, State
from img_contract.job.query import JobQuery
from img_contract.job.stats import EngineMark
from img_contract.testing import write_result

Backend = Any
FACTS = Facts(width=80, height=60)
FAILURE = Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken")
ALL = JobQuery()


def ids(backend: Backend, query: JobQuery = ALL, limit: int = 50) -> list[str]:
    return [status.id for status in backend.jobs.list(query, limit).jobs]


def end(backend: Backend, *, fails: bool = False) -> str:
    """End the job that is next, and return its guid."""
    claim = backend.claimed()
    if fails:
        claim.fail(FAILURE, FACTS)
    else:
        with claim.files() as files:
            claim.publish([write_result(files)], FACTS, ())
    claim.close()
    return str(claim.job.id)


def positions(backend: Backend, jobs: list[Job]) -> list[int | None]:
    backend.clock.advance(60.0)
    return [backend.jobs.status(job.id).position for job in jobs]


# Lists


def test_a_list_has_the_newest_first_with_what_is_true_now(backend: Backend) -> None:
    jobs = [backend.submit() for _ in range(4)]
    done, failed = end(backend), end(backend, fails=True)
    running = backend.claimed().job.id
    assert [done, failed, running] == [job.id for job in jobs[:3]]
    page = backend.jobs.list(ALL, 50)
    assert [status.id for status in page.jobs] == [job.id for job in reversed(jobs)]
    assert [status.state for status in page.jobs] == [State.QUEUED, State.PROCESSING, State.FAILED, State.DONE]
    assert page.next is None
    assert page.jobs[0].job == jobs[3]


def test_there_is_nothing_in_an_empty_store(backend: Backend) -> None:
    for state in (None, *State):
        page = backend.jobs.list(JobQuery(state), 50)
        assert (page.jobs, page.next) == ((), None)


def test_a_list_of_one_state_has_no_others(backend: Backend) -> None:
    jobs = [backend.submit() for _ in range(6)]
    expected = {State.DONE: [end(backend)], State.FAILED: [end(backend, fails=True)]}
    expected[State.PROCESSING] = [backend.claimed().job.id]
    backend.jobs.cancel(jobs[3].id)
    expected |= {State.CANCELLED: [jobs[3].id], State.QUEUED: [jobs[5].id, jobs[4].id]}
    assert {state: ids(backend, JobQuery(state)) for state in State} == expected


def test_of_jobs_that_ended_the_last_to_end_is_first(backend: Backend) -> None:
    first, second = backend.submit(), backend.submit()
    slow = backend.claimed()
    assert slow.job == first
    end(backend)
    with slow.files() as files:
        assert slow.publish([write_result(files)], FACTS, ())
    slow.close()
    assert ids(backend, JobQuery(State.DONE)) == [first.id, second.id]
    assert ids(backend) == [second.id, first.id]


@pytest.mark.parametrize("state", [None, State.DONE, State.QUEUED])
def test_pages_lead_through_all_jobs_once(backend: Backend, state: State | None) -> None:
    jobs = [backend.submit() for _ in range(7)]
    if state is State.DONE:
        for _ in jobs:
            end(backend)
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor:
        page = backend.jobs.list(JobQuery(state), 3, cursor)
        seen += [status.id for status in page.jobs]
        cursor, pages = page.next, pages + 1
        if pages == 1:
            backend.submit()  # what comes meanwhile does not shift the pages that follow
    assert seen == [job.id for job in reversed(jobs)]
    assert pages in (3, 4)


def test_only_the_owners_jobs_are_listed(backend: Backend) -> None:
    mine = [backend.submit(owner="alice"), backend.submit(owner="bob"), backend.submit(), backend.submit(owner="alice")]
    own = [mine[3].id, mine[0].id]
    for state in (None, State.QUEUED):
        assert ids(backend, JobQuery(state, owner="alice")) == own
        assert ids(backend, JobQuery(state, owner="ali_e")) == []
    for _ in mine:
        end(backend)
    assert ids(backend, JobQuery(State.DONE, owner="alice")) == own


def test_names_that_look_alike_in_an_index_are_told_apart(backend: Backend) -> None:
    one, other = backend.submit(owner="a b"), backend.submit(owner="a_b")
    assert ids(backend, JobQuery(owner="a b")) == [one.id]
    assert ids(backend, JobQuery(owner="a_b")) == [other.id]


def test_since_is_of_the_submission_or_of_the_end(backend: Backend) -> None:
    old, new = backend.submit(), backend.submit()
    assert ids(backend, JobQuery(since=new.submitted_at)) == [new.id]
    assert ids(backend, JobQuery(State.QUEUED, since=old.submitted_at)) == [new.id, old.id]
    assert ids(backend, JobQuery(since=new.submitted_at + timedelta(hours=1))) == []
    end(backend)
    ended_at = backend.jobs.status(old.id).outcome.finished_at
    assert ids(backend, JobQuery(State.DONE, since=ended_at)) == [old.id]
    assert ids(backend, JobQuery(State.DONE, since=ended_at + timedelta(microseconds=1))) == []


def test_deleted_jobs_are_left_out(backend: Backend) -> None:
    backend.submit()
    kept = backend.submit()
    gone = end(backend)
    end(backend)
    backend.jobs.cancel(gone)
    assert ids(backend) == ids(backend, JobQuery(State.DONE)) == [kept.id]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5.2", "../..", "9" * 400, "٣", "\0", "2026112604.-3"])
@pytest.mark.parametrize("state", [None, State.FAILED, State.QUEUED])
def test_what_is_no_cursor_is_refused_or_leads_nowhere(backend: Backend, state: State | None, cursor: str) -> None:
    backend.submit()
    try:
        assert len(backend.jobs.list(JobQuery(state), 50, cursor).jobs) <= 1
    except UnknownCursor:
        return
    assert cursor.isdecimal(), "only what looks like a cursor may be taken for one"


# Positions


def test_a_queued_job_knows_how_many_are_before_it(backend: Backend) -> None:
    jobs = [backend.submit() for _ in range(4)]
    assert positions(backend, jobs) == [0, 1, 2, 3]
    claim = backend.claimed()
    assert positions(backend, jobs) == [None, 0, 1, 2]
    end(backend)
    backend.jobs.cancel(jobs[2].id)
    assert positions(backend, jobs) == [None, None, None, 0]
    claim.release()
    claim.close()


# Totals


def test_the_totals_tell_what_waits_and_what_came_of_the_rest(backend: Backend) -> None:
    jobs = [backend.submit() for _ in range(6)]
    end(backend)
    end(backend, fails=True)
    backend.claimed()
    backend.jobs.cancel(jobs[3].id)
    backend.engine.announce()
    backend.clock.advance(60.0)
    stats = backend.jobs.stats()
    assert (stats.queued, stats.processing) == (2, 1)
    assert stats.oldest_seconds is not None
    assert stats.oldest_seconds >= 0
    hour = stats.hour
    assert (hour.done, dict(hour.failed), hour.cancelled) == (1, {"picture_corrupt": 1}, 1)
    assert (hour.uploaded_bytes, hour.saved_bytes) == (jobs[0].source.bytes, jobs[0].source.bytes - len(b"pixels"))
    assert hour.p50_seconds == hour.p95_seconds is not None
    assert stats.free_bytes is None or stats.free_bytes > 0


def test_the_totals_name_the_engines_and_their_versions(backend: Backend) -> None:
    backend.new_engine("old").announce()
    backend.new_engine("one").announce()
    assert backend.jobs.stats().engines == (EngineMark("old", "1.2.3"), EngineMark("one", "1.2.3"))


def test_the_totals_of_an_idle_service(backend: Backend) -> None:
    stats = backend.jobs.stats()
    assert (stats.queued, stats.processing, stats.oldest_seconds, stats.engines) == (0, 0, None, ())
    assert (stats.hour.done, dict(stats.hour.failed), stats.hour.p50_seconds, stats.hour.saved_bytes) == (
        0,
        {},
        None,
        0,
    )
