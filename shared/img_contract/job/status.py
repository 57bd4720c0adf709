"""The status of a job at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from img_contract.job.job import Job
from img_contract.job.newer import JobOutline
from img_contract.job.outcome import Outcome, State


@dataclass(frozen=True)
class JobStatus:
    """A job and its state."""

    id: str
    job: Job | JobOutline | None
    """The job as it was submitted, or what is understood of a newer one; None if its record is damaged."""
    state: State
    attempt: int
    """Attempts started so far."""
    started_at: datetime | None
    expires_at: datetime
    outcome: Outcome | None
    position: int | None = None
    """How many queued jobs an engine takes before it; None if that is not known, and if it is not queued."""

    @property
    def owner(self) -> str | None:
        """Name of the API key that the job was sent with."""
        return self.job.owner if self.job else None
