"""Which jobs are asked for in a list of them, and a page of that list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from img_contract.job.outcome import State
from img_contract.job.status import JobStatus


@dataclass(frozen=True)
class JobQuery:
    """The jobs to list. The default is all of them."""

    state: State | None = None
    since: datetime | None = None
    """Those that were submitted since; with a final state, those that ended since."""
    owner: str | None = None
    """Those that were sent with the API key of this name; None: with any, or without one."""

    @property
    def ended(self) -> bool:
        """Whether only jobs that have ended are asked for: then the last that ended comes first."""
        return self.state is not None and self.state.final

    def wants(self, status: JobStatus) -> bool:
        """Return whether a job is among them, as it is now."""
        if self.state not in (None, status.state) or self.owner not in (None, status.owner):
            return False
        moment = status.job.submitted_at if status.job else None
        if self.ended:
            moment = status.outcome.finished_at if status.outcome else None
        return self.since is None or (moment is not None and moment >= self.since)


@dataclass(frozen=True)
class JobList:
    """A page of the jobs that were asked for, the newest first; perhaps an empty one, though there are more."""

    jobs: tuple[JobStatus, ...]
    next: str | None
    """The cursor at which the list goes on; None at its end."""
