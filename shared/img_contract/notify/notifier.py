"""Notifications of new jobs. They only make things fast: a lost one costs the time until the next poll, never a job."""

from __future__ import annotations

from typing import Protocol

from img_contract.job.job import Job


class Notifier(Protocol):
    """The side that announces jobs."""

    def notify(self, job: Job) -> bool:
        """Announce a job without ever blocking or raising; False if nobody could be notified. Thread-safe."""

    def close(self) -> None:
        """Close the connection."""


class Listener(Protocol):
    """The side that hears of jobs."""

    def wait(self, seconds: float) -> Job | None:
        """Return the next job announced, or None after so many seconds. Invalid messages are dropped."""

    def close(self) -> None:
        """Close the connection."""
