"""What the routes and use cases work with, handed to them by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from img_contract.config import Config
from img_contract.ports import Jobs

from img_rest.admission.backlog import Backlog
from img_rest.admission.places import UploadPlaces
from img_rest.waiting import LongPolls


@dataclass(frozen=True)
class Services:
    """One of each, shared by all threads."""

    config: Config
    jobs: Jobs
    backlog: Backlog
    uploads: UploadPlaces
    long_polls: LongPolls

    @classmethod
    def over(cls, jobs: Jobs, config: Config, stopping: Callable[[], bool]) -> Self:
        """Build them over a backend. `stopping` returns whether the service is about to stop."""
        return cls(
            config,
            jobs,
            Backlog(jobs, config.limits),
            UploadPlaces(config.http.uploads),
            LongPolls(jobs, config.http.long_polls, stopping),
        )
