"""What lists and totals cost on a volume with many jobs, and what damage, crashes and a full disk do to them."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from img_contract import failpoints
from img_contract.errors import UnknownCursor
from img_contract.history import Arrival, Ending
from img_contract.job.job import Job, new_job_id, now
from img_contract.job.outcome import Failure, FailureCode, State
from img_contract.job.query import JobQuery
from img_contract.job.stats import EngineMark
from img_contract.notify.memory import MemoryNotifier
from img_contract.volume.cleanup import LEFTOVER_SECONDS, Cleanup
from img_contract.volume.engines import Engines
from img_contract.volume.journal import Journal, hour_of
from img_contract.volume.layout import Layout
from img_contract.volume.listing import MOST_JOBS, MOST_LINES
from img_contract.volume.store import VolumeJobs
from img_contract.volume.waiting import WaitingJobs

Backend = Any
MANY = 100_000
ALL = JobQuery()
FAILED = JobQuery(State.FAILED)
FAILURE = Failure(code=FailureCode.PICTURE_CORRUPT, detail="it is broken")


@pytest.fixture
def jobs(volume_backend: Backend) -> VolumeJobs:
    made: VolumeJobs = volume_backend.jobs
    return made


@pytest.fixture
def submit(volume_backend: Backend) -> Callable[[], Job]:
    made: Callable[[], Job] = volume_backend.submit
    return made


@pytest.fixture
def fail(volume_backend: Backend) -> Callable[[], str]:
    """Fail the next job, and return its guid."""

    def failed() -> str:
        claim = volume_backend.claimed()
        assert claim.fail(FAILURE)
        claim.close()
        return str(claim.job.id)

    return failed


def ids(jobs: VolumeJobs, query: JobQuery = ALL) -> list[str]:
    return [status.id for status in jobs.list(query, 200).jobs]


def ids_of(jobs: VolumeJobs, query: JobQuery, limit: int) -> list[str]:
    return [status.id for status in jobs.list(query, limit).jobs]


def ending(state: State, at: datetime) -> list[str]:
    return Ending(at, new_job_id(), state, "", at, at, 1000, 100, "").words()


def fill(journal: Journal, lines: list[list[str]], at: datetime, times: int = 1) -> None:
    """Write many lines at once."""
    with (journal.folder / hour_of(at)).open("ab") as file:
        file.write(b"".join(f"{' '.join(words)}\n".encode() for words in lines) * times)


class Work:
    """Counts what lists and totals read; all of it is done as before."""

    def __init__(self, jobs: VolumeJobs, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines = self.opened = 0
        status = jobs._listing._status

        def counted_status(job_id: str) -> Any:
            self.opened += 1
            return status(job_id)

        monkeypatch.setattr(jobs._listing, "_status", counted_status)
        for journal in (layout.recent_jobs, layout.ended_jobs):
            monkeypatch.setattr(journal, "backwards", self._counting(journal.backwards))
            monkeypatch.setattr(journal, "forwards", self._counting(journal.forwards))

    def _counting(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def counted_lines(found: Any) -> Any:
            for line in found:
                self.lines += 1
                yield line

        def counted(*arguments: Any) -> Any:
            found = read(*arguments)
            if not isinstance(found, tuple):
                return counted_lines(found)
            self.lines += len(found[0])
            return found

        return counted

    def taken(self) -> tuple[int, int]:
        """Return how many lines were read and how many jobs were opened since the last call."""
        found = self.lines, self.opened
        self.lines = self.opened = 0
        return found


@pytest.fixture
def work(jobs: VolumeJobs, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(jobs, layout, monkeypatch)


def test_pages_and_totals_cost_the_same_with_a_hundred_thousand_jobs(
    jobs: VolumeJobs, layout: Layout, work: Work, submit: Callable[[], Job], fail: Callable[[], str]
) -> None:
    before = now() - timedelta(minutes=1)
    fill(layout.recent_jobs, [Arrival(before, new_job_id(), "").words()], before, MANY)
    fill(layout.ended_jobs, [ending(State.DONE, before)], before, MANY)
    newest = [submit().id for _ in range(12)]
    assert jobs.stats().hour.done == MANY
    assert work.taken() == (MANY, 0)
    assert ids_of(jobs, ALL, 10) == newest[:1:-1]
    assert work.taken() == (11, 10), "the page, and a look whether there is more"
    failed = fail()
    assert jobs.stats().hour.failed == {"picture_corrupt": 1}
    assert work.taken() == (1, 0), "what was added since the last look"
    assert ids_of(jobs, FAILED, 1) == [failed]
    assert work.taken() == (2, 1)


def test_a_page_is_a_bounded_amount_of_work_and_its_cursor_goes_on(
    jobs: VolumeJobs, layout: Layout, work: Work, submit: Callable[[], Job], fail: Callable[[], str]
) -> None:
    submit()
    failed, present = fail(), now()
    fill(layout.ended_jobs, [ending(State.DONE, present)], present, 2 * MOST_LINES)
    fill(layout.recent_jobs, [Arrival(present, new_job_id(), "").words() for _ in range(2 * MOST_JOBS)], present)
    for query, most in ((FAILED, MOST_LINES), (ALL, MOST_JOBS)):
        found, cursor, pages = [], None, 0
        while pages == 0 or cursor:
            page = jobs.list(query, 50, cursor)
            found += [status.id for status in page.jobs]
            lines, opened = work.taken()
            assert (lines <= most + 1, opened <= MOST_JOBS) == (True, True)
            cursor, pages = page.next, pages + 1
        assert (found, pages) == ([failed], 3)


def test_lines_that_are_written_at_the_same_time_are_all_there(layout: Layout) -> None:
    present = now()
    written = [[Arrival(present, new_job_id(), "owner").words() for _ in range(200)] for _ in range(8)]
    barrier = threading.Barrier(len(written))

    def write(lines: list[list[str]]) -> None:
        journal = Journal(layout.recent_jobs.folder)
        barrier.wait()
        for words in lines:
            journal.append(words)

    threads = [threading.Thread(target=write, args=(lines,)) for lines in written]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [words for _, words in layout.recent_jobs.backwards(hour_of(present))]
    assert sorted(found) == sorted(itertools.chain(*written))


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\n\n\n",
        b"2026112",
        bytes(5000),
        b"\xff\xfe" * 100_000,
        b"x" * 65_535 + b"\n" + b"y" * 65_536 + b"\n",
        b"20261126T042822.123Z no-guid \n20261126T042822.123Z ../../etc/passwd done\n",
    ],
)
def test_damaged_lines_are_passed_over(
    jobs: VolumeJobs, layout: Layout, submit: Callable[[], Job], fail: Callable[[], str], damage: bytes
) -> None:
    first = submit().id
    fail()
    for journal in (layout.recent_jobs, layout.ended_jobs):
        for hour in journal.hours():
            with (journal.folder / hour).open("ab") as file:
                file.write(damage + b"\n")
    last = submit().id
    fail()
    assert ids(jobs) == ids(jobs, FAILED) == [last, first]
    assert jobs.stats().hour.failed == {"picture_corrupt": 2}
    assert jobs.stats().hour.failed == {"picture_corrupt": 2}


def test_a_line_that_was_cut_off_costs_no_more_than_the_one_behind_it(
    jobs: VolumeJobs, layout: Layout, submit: Callable[[], Job]
) -> None:
    first = submit().id
    file = layout.recent_jobs.folder / layout.recent_jobs.hours()[0]
    file.write_bytes(file.read_bytes() + b"20261126T04")
    submit()
    third = submit().id
    assert ids(jobs) == [third, first]


@pytest.mark.parametrize("place", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_in_a_files_place_costs_a_listing_and_no_job(
    jobs: VolumeJobs, layout: Layout, submit: Callable[[], Job], fail: Callable[[], str], place: Callable[[Path], None]
) -> None:
    for journal in (layout.recent_jobs, layout.ended_jobs):
        place(journal.folder / hour_of(now()))
        place(journal.folder / hour_of(now() + timedelta(hours=1)))  # should the hour end meanwhile
    job = submit()
    assert fail() == job.id
    assert jobs.status(job.id).state is State.FAILED
    assert ids(jobs) == ids(jobs, FAILED) == []
    assert jobs.stats().hour.failed == {}


def test_a_disk_that_is_full_fails_neither_a_job_nor_its_end(
    jobs: VolumeJobs, submit: Callable[[], Job], fail: Callable[[], str]
) -> None:
    failpoints.arm({failpoints.VARIABLE: "journal.write=ENOSPC"})
    try:
        job, waiting = submit(), submit()
        fail()
    finally:
        failpoints.arm({})
    assert jobs.status(job.id).state is State.FAILED
    assert ids(jobs) == ids(jobs, FAILED) == []
    assert ids(jobs, JobQuery(State.QUEUED)) == [waiting.id], "what waits is known by the markers"


def test_a_line_of_a_job_that_never_came_to_be_is_passed_over(jobs: VolumeJobs, submit: Callable[[], Job]) -> None:
    """The API died between the line and the job, or the job was taken back."""
    kept = submit()
    failpoints.arm({failpoints.VARIABLE: "submission.renamed=EIO"})
    try:
        with pytest.raises(Exception, match="EIO"):
            submit()
    finally:
        failpoints.arm({})
    assert ids(jobs) == [kept.id]


def test_a_job_whose_engine_died_before_it_wrote_the_line_of_its_end_is_listed_all_the_same(
    jobs: VolumeJobs, submit: Callable[[], Job], fail: Callable[[], str], volume_backend: Backend
) -> None:
    job = submit()
    failpoints.arm({failpoints.VARIABLE: "outcome.written=EIO"})
    try:
        with pytest.raises(Exception, match="EIO"):
            fail()
    finally:
        failpoints.arm({})
    page = jobs.list(ALL, 50)
    assert [(status.id, status.state) for status in page.jobs] == [(job.id, State.FAILED)]
    assert ids(jobs, JobQuery(State.QUEUED)) == ids(jobs, JobQuery(State.PROCESSING)) == []
    assert volume_backend.take(volume_backend.new_engine("other")) is None


def test_a_cursor_of_another_list_is_refused(jobs: VolumeJobs, submit: Callable[[], Job]) -> None:
    for _ in range(2):
        submit()
    cursor = jobs.list(ALL, 1).next
    for query in (FAILED, JobQuery(State.QUEUED)):
        with pytest.raises(UnknownCursor):
            jobs.list(query, 1, cursor)


def test_no_cursor_tells_a_guid(jobs: VolumeJobs, submit: Callable[[], Job]) -> None:
    """It may be that of a job of another owner, which was passed over."""
    made = [submit().id for _ in range(3)]
    for query in (ALL, JobQuery(State.QUEUED)):
        cursor = jobs.list(query, 1).next
        assert cursor
        assert not any(part in cursor for job_id in made for part in job_id.split("-"))


# Cleaning


def test_an_hour_is_removed_when_none_of_its_jobs_is_left(
    jobs: VolumeJobs, layout: Layout, submit: Callable[[], Job]
) -> None:
    kept = submit()
    hours = [datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in range(3)]
    for hour in hours:
        lines = [Arrival(hour, new_job_id(), "").words()] * 3000
        middle = [Arrival(hour, kept.id, "").words()] if hour is hours[0] else []
        fill(layout.recent_jobs, [*lines, *middle, *lines], hour)
    fill(layout.ended_jobs, [ending(State.DONE, hours[0]), ["damage"]], hours[0])
    (layout.recent_jobs.folder / "notes.txt").write_text("of a person")

    def cleaned(seconds: float) -> tuple[list[str], list[str]]:
        for journal in (layout.recent_jobs, layout.ended_jobs):
            for hour in journal.hours():
                moment = time.time() - seconds
                os.utime(journal.folder / hour, (moment, moment))
        cleanup = Cleanup(layout, retention_seconds=1.0)
        for _ in range(60):
            cleanup.run_batch()
        return layout.recent_jobs.hours(), layout.ended_jobs.hours()

    young = [*layout.recent_jobs.hours()], [*layout.ended_jobs.hours()]
    assert cleaned(LEFTOVER_SECONDS - 60) == young, "a job that ends now may still be written to it"
    present = layout.recent_jobs.hours()[0]
    assert cleaned(LEFTOVER_SECONDS + 60) == ([present, hour_of(hours[0])], [])
    assert ids(jobs)[0] == kept.id
    assert (layout.recent_jobs.folder / "notes.txt").exists()


# Positions


def test_those_who_ask_for_positions_share_a_look(layout: Layout, submit: Callable[[], Job]) -> None:
    made = [submit().id for _ in range(5)]
    ticks = itertools.count()
    waiting = WaitingJobs(layout, lambda: next(ticks) / 1000)  # a look takes a millisecond, and so does each question
    looks = 0
    markers = layout.markers

    def counted() -> Any:
        nonlocal looks
        looks += 1
        return markers()

    layout.markers = counted  # type: ignore[method-assign]  # it counts, and does the same
    for _ in range(500):
        assert [waiting.now().positions[job_id] for job_id in made[:1]] == [0]
    assert 5 <= looks <= 20


def test_engines_that_are_older_have_no_version(layout: Layout, jobs: VolumeJobs) -> None:
    (layout.engines / "old").write_bytes(b"3")
    Engines(layout).announce("new", 5, "9.9")
    assert jobs.stats().engines == (EngineMark("new", "9.9"), EngineMark("old", None))
    assert jobs.too_new() == 3
    older = VolumeJobs(layout, MemoryNotifier())
    assert older.engines() == ["new", "old"] or older.engines() == ["old", "new"]
