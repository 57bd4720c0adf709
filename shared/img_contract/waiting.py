"""The jobs that have not ended, as a look at a store finds them: who is before whom, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Self

from img_contract.errors import StoreError
from img_contract.job.stats import EngineMark, HourTotals, Stats


@dataclass(frozen=True)
class Waiting:
    """The jobs that have not ended at one moment."""

    order: tuple[tuple[int, str], ...] = ()
    """When each was submitted, in nanoseconds since the epoch, and its guid; the oldest first."""
    positions: dict[str, int] = field(default_factory=dict)
    """Of each job that is queued, how many of those are before it."""

    @classmethod
    def of(cls, order: Iterable[tuple[int, str]], begun: AbstractSet[str]) -> Self:
        """Return what there is when those of `begun` are processed and the others queued."""
        order = tuple(order)
        queued = (job_id for _, job_id in order if job_id not in begun)
        return cls(order, {job_id: position for position, job_id in enumerate(queued)})

    @property
    def oldest_seconds(self) -> float | None:
        """How long the oldest queued job has waited; None if none is queued."""
        submitted = next((submitted for submitted, job_id in self.order if job_id in self.positions), None)
        return None if submitted is None else max(0.0, time.time() - submitted / 1e9)

    def stats(self, engines: Iterable[EngineMark], free_bytes: int | None, hour: HourTotals) -> Stats:
        """Return how the service does, with what else is known of it."""
        queued = len(self.positions)
        return Stats(queued, len(self.order) - queued, self.oldest_seconds, tuple(engines), free_bytes, hour)


def position_of(job_id: str, look: Callable[[], Waiting]) -> int | None:
    """Return how many queued jobs are before one; None if it is not queued, or if the store cannot say now."""
    try:
        return look().positions.get(job_id)
    except StoreError:
        return None  # the status is known all the same
