"""What an index by time has of each job: that it was submitted, and how it ended, as a few words of text.

An index may lose a job; it never says what a job is. A reader takes the job's own records for that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from img_contract.job.job import JOB_ID, Job
from img_contract.job.newer import JobOutline
from img_contract.job.outcome import Outcome, State
from img_contract.job.query import JobQuery

_STATE: Final = 2
"""Which word of an ending is the state."""

_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class Arrival:
    """A job was submitted."""

    at: datetime
    job_id: str
    owner: str
    """See `word`."""

    @classmethod
    def of(cls, job: Job | JobOutline) -> Self:
        """Return what is kept of a job that was submitted."""
        return cls(job.submitted_at, job.id, word(job.owner))

    def words(self) -> list[str]:
        """Write it as words without spaces; the last may be empty."""
        return [written(self.at), self.job_id, self.owner]

    @classmethod
    def read(cls, words: list[str]) -> Self | None:
        """Read what `words` wrote, of this version or a newer one; None if it is damaged."""
        try:
            at, job_id, owner, *_ = words
            return cls(datetime.fromisoformat(at), job_id, owner) if JOB_ID.fullmatch(job_id) else None
        except ValueError:
            return None

    def may_suit(self, query: JobQuery) -> bool:
        """Return whether the job may be among those that are asked for."""
        return _may_suit(query, self.at, self.owner)


@dataclass(frozen=True)
class Ending:
    """A job ended."""

    at: datetime
    job_id: str
    state: State
    code: str
    """Of its failure; empty if it has not failed."""
    submitted_at: datetime | None
    """None if its record is damaged."""
    started_at: datetime | None
    uploaded_bytes: int
    result_bytes: int
    owner: str
    """See `word`."""

    @classmethod
    def of(cls, job_id: str, job: Job | JobOutline | None, outcome: Outcome) -> Self:
        """Return what is kept of a job that ended."""
        return cls(
            outcome.finished_at,
            job_id,
            State(outcome.state),
            word(outcome.error.code if outcome.error else None),
            job.submitted_at if job else None,
            outcome.started_at,
            job.source.bytes if job else 0,
            sum(output.bytes for output in outcome.outputs),
            word(job.owner if job else None),
        )

    def words(self) -> list[str]:
        """Write it as words without spaces, some of which may be empty."""
        times = [written(moment) if moment else "" for moment in (self.submitted_at, self.started_at)]
        counts = [str(self.uploaded_bytes), str(self.result_bytes)]
        return [written(self.at), self.job_id, self.state, self.code, *times, *counts, self.owner]

    @classmethod
    def read(cls, words: list[str]) -> Self | None:
        """Read what `words` wrote, of this version or a newer one; None if it is damaged."""
        try:
            at, job_id, state, code, submitted, started, uploaded, result, owner, *_ = words
            if not JOB_ID.fullmatch(job_id):
                return None
            return cls(
                datetime.fromisoformat(at),
                job_id,
                State(state),
                code,
                datetime.fromisoformat(submitted) if submitted else None,
                datetime.fromisoformat(started) if started else None,
                int(uploaded),
                int(result),
                owner,
            )
        except ValueError:
            return None

    @staticmethod
    def may_have(words: list[str], state: State | None) -> bool:
        """Return whether they may be of a job that ended so: quicker than to read them."""
        return len(words) > _STATE and words[_STATE] == state

    def may_suit(self, query: JobQuery) -> bool:
        """Return whether the job may be among those that are asked for."""
        return self.state is query.state and _may_suit(query, self.at, self.owner)


def word(text: str | None) -> str:
    """Return a name as a word that fits any index; two names may have the same."""
    return _UNUSUAL.sub("_", text) if text else ""


def written(moment: datetime) -> str:
    """Return a time as 20261126T042822.123Z, of which the later is the greater; to the millisecond, which is short."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds").replace("-", "").replace(":", "").replace("+0000", "Z")


def _may_suit(query: JobQuery, at: datetime, owner: str) -> bool:
    if query.owner is not None and word(query.owner) != owner:
        return False
    return query.since is None or at >= _whole(query.since)


def _whole(moment: datetime) -> datetime:
    """Return the millisecond that a moment is in."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
