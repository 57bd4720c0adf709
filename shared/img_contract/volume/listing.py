"""Lists of jobs, from the journals and the markers. What a page has of a job is what the job's own files say.

A page opens the files of a few hundred jobs at most, and passes over a number of lines at most: where it stops before
it is full, its cursor goes on from there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Final

from img_contract.errors import JobDeleted, UnknownCursor, UnknownJob
from img_contract.history import Arrival, Ending
from img_contract.job.outcome import State
from img_contract.job.query import JobList, JobQuery
from img_contract.job.status import JobStatus
from img_contract.volume.files import storage_faults
from img_contract.volume.journal import HOUR, Journal, hour_of
from img_contract.volume.layout import Layout
from img_contract.volume.waiting import WaitingJobs

MOST_JOBS: Final = 400
"""Jobs whose files one page opens."""

MOST_LINES: Final = 20_000
"""Lines and markers that one page passes over."""

_LINE: Final = re.compile(rf"(recent|ended)\.({HOUR.pattern})\.([0-9]{{1,15}})")
"""A cursor in a journal: its name, an hour, and the offset of the last line that was read."""
_MARKER: Final = re.compile(r"waiting\.([0-9]{1,20})\.([0-9a-f]{16})")
"""A cursor among the markers: when the last job that was looked at was submitted, and which of that moment it is."""

_Places = Iterator[tuple[str, str | None]]
"""A cursor, and the job that is there; None if it is none of those that are asked for."""


class Listing:
    """Lists the jobs of one volume. `status`: see `ports.Jobs`."""

    def __init__(self, layout: Layout, waiting: WaitingJobs, status: Callable[[str], JobStatus]) -> None:
        self._layout = layout
        self._waiting = waiting
        self._status = status

    def page(self, query: JobQuery, limit: int, cursor: str | None) -> JobList:
        """See `ports.Jobs.list`."""
        if query.state in (State.QUEUED, State.PROCESSING):
            places = self._marked(query.state, _matched(_MARKER, cursor))
        else:
            journal = self._layout.ended_jobs if query.ended else self._layout.recent_jobs
            places = _written(journal, query, _matched(_LINE, cursor))
        found: dict[str, JobStatus] = {}
        opened = 0
        with storage_faults("list jobs", self._layout.root):
            for passed, (place, job_id) in enumerate(places, 1):
                if job_id and job_id not in found:
                    opened += 1
                    status = self._present(job_id)
                    if status and query.wants(status):
                        found[job_id] = status
                if len(found) == limit or opened == MOST_JOBS or passed == MOST_LINES:
                    return JobList(tuple(found.values()), place if next(places, None) else None)
        return JobList(tuple(found.values()), None)

    def _present(self, job_id: str) -> JobStatus | None:
        try:
            return self._status(job_id)
        except (UnknownJob, JobDeleted):
            return None

    def _marked(self, state: State, cursor: re.Match[str] | None) -> _Places:
        """Go through the jobs that have not ended, the newest first."""
        waiting = self._waiting.now()
        jobs = reversed(waiting.order)
        if cursor:
            jobs = _after(list(jobs), int(cursor[1]), cursor[2])
        for submitted, job_id in jobs:
            suits = (job_id in waiting.positions) is (state is State.QUEUED)
            yield f"waiting.{submitted}.{_digest(job_id)}", job_id if suits else None


def _written(journal: Journal, query: JobQuery, cursor: re.Match[str] | None) -> _Places:
    """Go through a journal, the last line first."""
    if cursor and cursor[1] != journal.folder.name:
        raise UnknownCursor
    read: Callable[[list[str]], Arrival | Ending | None] = Ending.read if query.ended else Arrival.read
    first_hour = hour_of(query.since) if query.since else ""
    for hour in journal.hours():
        if hour < first_hour:
            return
        if cursor and hour > cursor[2]:
            continue
        before = int(cursor[3]) if cursor and hour == cursor[2] else None
        for offset, words in journal.backwards(hour, before):
            line = None if query.ended and not Ending.may_have(words, query.state) else read(words)
            suits = line is not None and line.may_suit(query)
            yield f"{journal.folder.name}.{hour}.{offset}", line.job_id if line and suits else None


def _after(jobs: list[tuple[int, str]], moment: int, digest: str) -> Iterator[tuple[int, str]]:
    """Yield the jobs that follow one, which may have ended, of a list with the newest first."""
    same = [job_id for submitted, job_id in jobs if submitted == moment]
    known = [_digest(job_id) for job_id in same]
    passed = set(same[: known.index(digest) + 1] if digest in known else [])
    return (job for job in jobs if job[0] <= moment and job[1] not in passed)


def _digest(job_id: str) -> str:
    """Return what tells one job from others without telling its guid: it may be that of another owner."""
    return hashlib.sha256(job_id.encode()).hexdigest()[:16]


def _matched(pattern: re.Pattern[str], cursor: str | None) -> re.Match[str] | None:
    found = pattern.fullmatch(cursor) if cursor is not None else None
    if cursor is not None and found is None:
        raise UnknownCursor
    return found
