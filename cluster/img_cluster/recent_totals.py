"""The totals of the last hour, from the names that were added to the index of endings since the last look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from img_contract.history import Ending
from img_contract.job.stats import HourTotals
from img_contract.totals import RecentTotals

from img_cluster.bucket import Bucket
from img_cluster.index import ENDED, counted_down, names_after, place_of, words_of

_FRESH_SECONDS: Final = 5.0
"""Each look costs a request for a thousand jobs."""
_LATE: Final = timedelta(minutes=1)
"""A name may appear so long after the time that it has: clocks differ."""
_HOUR: Final = timedelta(hours=1)


class IndexTotals:
    """Counts each name once. Thread-safe."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float]) -> None:
        self._bucket = bucket
        self._clock = clock
        self._lock = threading.Lock()
        self._totals = RecentTotals()
        self._due = float("-inf")
        self._read_to = datetime.fromtimestamp(0, UTC)
        """What ended before was counted."""
        self._counted: frozenset[str] = frozenset()
        """The names that were counted and are younger than that."""

    def hour(self) -> HourTotals:
        """Return the totals of the last hour, as they were a few seconds ago at most. Raises StoreError."""
        with self._lock:
            if self._clock() >= self._due:
                self._read()
                self._due = self._clock() + _FRESH_SECONDS
            return self._totals.hour(time.time())

    def _read(self) -> None:
        present = datetime.now(UTC)
        last = counted_down(max(self._read_to, present - _HOUR))
        names = []
        for name in names_after(self._bucket, ENDED, None):
            if place_of(name) > last:
                break
            names.append(name)
        for name in names:
            if name not in self._counted and (ending := Ending.read(words_of(name))):
                self._totals.add(ending)
        self._read_to = present - _LATE
        oldest = counted_down(self._read_to)
        self._counted = frozenset(name for name in names if place_of(name) <= oldest)
