"""Whether a further upload can be accepted: how many jobs wait, how fast the queue drains, how much space is free."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from img_contract.config import LimitsConfig
from img_contract.ports import Capacity, Jobs

from img_rest.errors import QueueFull, VolumeFull

_FRESH_SECONDS: Final = 0.25
"""The store is asked at most this often; jobs that were accepted since are added."""

_WINDOW_SECONDS: Final = 60.0
"""The drain rate is measured over this time."""

_LONGEST_RETRY_SECONDS: Final = 600
_UNKNOWN_RETRY_SECONDS: Final = 30
"""When to try again if no job has ended: no engine runs, or its jobs are long."""


class Backlog:
    """The queue, as img-rest sees it. Thread-safe."""

    def __init__(self, jobs: Jobs, limits: LimitsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._capacity: Capacity | None = None
        self._asked_at = float("-inf")
        self._accepted = 0
        """Jobs that were accepted since."""
        self._drained: deque[tuple[float, int]] = deque()
        """When the store was asked, and how many jobs had ended since the time before."""

    def check(self) -> None:
        """Refuse an upload before a byte of it is stored. Raises QueueFull, VolumeFull, StoreError."""
        with self._lock:
            capacity = self._recent()
            if capacity.pending + self._accepted >= self._limits.queue:
                capacity = self._ask()  # nobody is refused because of an old count
            waiting = capacity.pending + self._accepted
            retry = self._seconds_until_room(waiting)
        if waiting >= self._limits.queue:
            raise QueueFull(
                f"expected fewer than {self._limits.queue} jobs waiting, found {waiting}; try again later",
                limit=self._limits.queue,
                actual=waiting,
                retry_seconds=retry,
            )
        if capacity.free_bytes < self._limits.free_bytes:
            raise VolumeFull(
                f"expected {self._limits.free_bytes} bytes free on the volume, found {capacity.free_bytes}; "
                "try again later",
                limit=self._limits.free_bytes,
                actual=capacity.free_bytes,
            )

    def add_one(self) -> None:
        """Count a job that was just accepted."""
        with self._lock:
            self._accepted += 1

    def _recent(self) -> Capacity:
        if self._capacity is None or self._clock() - self._asked_at >= _FRESH_SECONDS:
            return self._ask()
        return self._capacity

    def _ask(self) -> Capacity:
        found, now = self._jobs.capacity(), self._clock()
        if self._capacity is not None:
            self._drained.append((now, max(0, self._capacity.pending + self._accepted - found.pending)))
        self._capacity, self._asked_at, self._accepted = found, now, 0
        while self._drained and now - self._drained[0][0] > _WINDOW_SECONDS:
            self._drained.popleft()
        return found

    def _seconds_until_room(self, waiting: int) -> int:
        """Return when there is room at the measured rate, rounded up."""
        drained = sum(count for _, count in self._drained)
        if not drained:
            return _UNKNOWN_RETRY_SECONDS
        seconds = max(self._clock() - self._drained[0][0], _FRESH_SECONDS)
        wanted = waiting - self._limits.queue + 1
        return max(1, min(math.ceil(wanted * seconds / drained), _LONGEST_RETRY_SECONDS))
