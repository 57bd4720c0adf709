"""How many jobs wait, how much room there is, and how fast the queue drains: whether a further upload can be taken."""

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

_LOOK_SECONDS: Final = 0.25
"""The volume is looked at so often at most; jobs that were taken since are added."""

_WINDOW_SECONDS: Final = 60.0
"""The drain rate is that of so much time."""

_LONGEST_RETRY_SECONDS: Final = 600
_UNKNOWN_RETRY_SECONDS: Final = 30
"""When to come again if nothing has drained: no engine runs, or it has long jobs."""


class Backlog:
    """The queue, as img-rest sees it. Thread-safe."""

    def __init__(self, jobs: Jobs, limits: LimitsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._capacity: Capacity | None = None
        self._looked_at = float("-inf")
        self._taken = 0
        """Jobs since that look."""
        self._drained: deque[tuple[float, int]] = deque()
        """How many jobs had ended between two looks, and when the later one was."""

    def check(self) -> None:
        """Refuse before a byte is stored what could not be kept. Raises QueueFull, VolumeFull, StoreError."""
        with self._lock:
            capacity = self._looked()
            if capacity.pending + self._taken >= self._limits.queue:
                capacity = self._look()  # nobody is refused for what was a quarter of a second ago
            waiting = capacity.pending + self._taken
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

    def took_one(self) -> None:
        """A job was submitted."""
        with self._lock:
            self._taken += 1

    def _looked(self) -> Capacity:
        if self._capacity is None or self._clock() - self._looked_at >= _LOOK_SECONDS:
            return self._look()
        return self._capacity

    def _look(self) -> Capacity:
        seen, now = self._jobs.capacity(), self._clock()
        if self._capacity is not None:
            self._drained.append((now, max(0, self._capacity.pending + self._taken - seen.pending)))
        self._capacity, self._looked_at, self._taken = seen, now, 0
        while self._drained and now - self._drained[0][0] > _WINDOW_SECONDS:
            self._drained.popleft()
        return seen

    def _seconds_until_room(self, waiting: int) -> int:
        """At the measured rate, rounded up."""
        drained = sum(count for _, count in self._drained)
        if not drained:
            return _UNKNOWN_RETRY_SECONDS
        seconds = max(self._clock() - self._drained[0][0], _LOOK_SECONDS)
        wanted = waiting - self._limits.queue + 1
        return max(1, min(math.ceil(wanted * seconds / drained), _LONGEST_RETRY_SECONDS))
