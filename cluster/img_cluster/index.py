"""The index by time: for each job that was submitted, and each that ended, an object whose name is all that it has.

A store lists names in their order and from any of them on. So a name begins with the time, counted down: the newest is
first. The index may lose a job, as it is no part of what makes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import structlog
from img_contract.errors import StoreError
from img_contract.history import Arrival, Ending
from img_contract.job.job import Job
from img_contract.job.newer import JobOutline
from img_contract.job.outcome import Outcome

from img_cluster.bucket import PAGE, Bucket

RECENT: Final = "recent"
ENDED: Final = "ended"

DIGITS: Final = 17
_END_OF_TIME: Final = 10**DIGITS - 1
_SEPARATOR: Final = "!"
"""Which is in none of the words."""
_LAST: Final = "~"
"""What comes after all names of the same time."""

log = structlog.get_logger(__name__)


def arrival_key(job: Job | JobOutline) -> str:
    """Return the name that says that a job was submitted."""
    return _key(RECENT, job.submitted_at, Arrival.of(job).words())


def ending_key(job_id: str, job: Job | JobOutline | None, outcome: Outcome) -> str:
    """Return the name that says how a job ended."""
    return _key(ENDED, outcome.finished_at, Ending.of(job_id, job, outcome).words())


def note(bucket: Bucket, key: str) -> None:
    """Write a name of the index. If that fails, it is logged, and the name is lost."""
    try:
        bucket.put(key, b"")
    except StoreError as error:
        log.warning("journal_line_lost", folder=key.partition("/")[0], reason=str(error))


def place_of(name: str) -> str:
    """Return the time of a name as the index has it, from which the names that follow can be listed."""
    return name[:DIGITS]


def counted_down(moment: datetime) -> str:
    """Return a time as names begin with it."""
    return f"{_END_OF_TIME - round(moment.timestamp() * 1_000_000):0{DIGITS}d}"


def words_of(name: str) -> list[str]:
    """Return what a name says, as `history` reads it."""
    return name.split(_SEPARATOR)[1:]


def names_after(bucket: Bucket, folder: str, place: str | None) -> Iterator[str]:
    """Yield the names of a folder, the newest first, from behind a place on; a thousand a request."""
    after = f"{place}{_LAST}" if place else None
    while True:
        names = list(bucket.names(folder, after=after))
        yield from names
        if len(names) < PAGE:
            return
        after = names[-1]


def keys_of(job_id: str, job: Job | JobOutline | None, outcome: Outcome | None) -> list[str]:
    """Return the names of a job in the index."""
    ending = [ending_key(job_id, job, outcome)] if outcome else []
    return [*([arrival_key(job)] if job else []), *ending]


def _key(folder: str, moment: datetime, words: list[str]) -> str:
    return f"{folder}/{_SEPARATOR.join([counted_down(moment), *words])}"
