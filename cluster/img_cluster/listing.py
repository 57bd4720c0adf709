"""Lists of jobs, from the index by time and the markers. What a page has of a job is what the job's own objects say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from typing import Final

from img_contract.errors import JobDeleted, UnknownCursor, UnknownJob
from img_contract.history import Arrival, Ending
from img_contract.job.outcome import State
from img_contract.job.query import JobList, JobQuery
from img_contract.job.status import JobStatus

from img_cluster.bucket import PAGE, Bucket
from img_cluster.index import DIGITS, ENDED, RECENT, counted_down, names_after, place_of, words_of
from img_cluster.objects import PENDING
from img_cluster.waiting import WaitingJobs

MOST_JOBS: Final = 200
"""Jobs whose objects one page reads, each with three requests."""
MOST_NAMES: Final = 5 * PAGE
"""Names that one page passes over."""

_THREADS: Final = 16
_CURSOR: Final = re.compile(rf"({RECENT}|{ENDED}|{PENDING})\.([0-9]{{{DIGITS}}})")
"""A folder, and the time of the last name in it that was read: nobody is told the guids that were passed over."""

_Places = Iterator[tuple[str, str | None]]
"""A place, and the job that is there; None if it is none of those that are asked for."""


class Listing:
    """Lists the jobs of one store. `status`: see `ports.Jobs`."""

    def __init__(self, bucket: Bucket, waiting: WaitingJobs, status: Callable[[str], JobStatus]) -> None:
        self._bucket = bucket
        self._waiting = waiting
        self._status = status

    def page(self, query: JobQuery, limit: int, cursor: str | None) -> JobList:
        """See `ports.Jobs.list`."""
        marked = query.state in (State.QUEUED, State.PROCESSING)
        folder = PENDING if marked else ENDED if query.ended else RECENT
        after = _CURSOR.fullmatch(cursor) if cursor is not None else None
        if cursor is not None and (after is None or after[1] != folder):
            raise UnknownCursor
        place = after[2] if after else None
        places = self._marked(query, place) if marked else self._noted(query, folder, place)
        found: dict[str, JobStatus] = {}
        passed = opened = 0
        with ThreadPoolExecutor(_THREADS) as threads:
            while len(found) < limit and passed < MOST_NAMES and opened < MOST_JOBS:
                names = list(islice(places, limit - len(found)))
                if not names:
                    return JobList(tuple(found.values()), None)
                place = names[-1][0]
                ids = [job_id for _, job_id in names if job_id and job_id not in found]
                passed, opened = passed + len(names), opened + len(ids)
                for status in threads.map(self._present, dict.fromkeys(ids)):
                    if status and query.wants(status):
                        found[status.id] = status
        return JobList(tuple(found.values()), f"{folder}.{place}" if next(places, None) else None)

    def _present(self, job_id: str) -> JobStatus | None:
        try:
            return self._status(job_id)
        except (UnknownJob, JobDeleted):
            return None

    def _noted(self, query: JobQuery, folder: str, place: str | None) -> _Places:
        """Go through the index, the newest first."""
        read: Callable[[list[str]], Arrival | Ending | None] = Ending.read if folder == ENDED else Arrival.read
        last = counted_down(query.since - timedelta(milliseconds=1)) if query.since else None
        for name in names_after(self._bucket, folder, place):
            if last and place_of(name) > last:
                return
            noted = read(words_of(name))
            yield place_of(name), noted.job_id if noted and noted.may_suit(query) else None

    def _marked(self, query: JobQuery, place: str | None) -> _Places:
        """Go through the jobs that have not ended, the newest first."""
        waiting = self._waiting.now()
        for submitted, job_id in reversed(waiting.order):
            there = f"{submitted // 1000:0{DIGITS}d}"
            if place is None or there < place:
                suits = (job_id in waiting.positions) is (query.state is State.QUEUED)
                yield there, job_id if suits else None
