"""The totals of the last hour, from the lines that were added to the journal of endings since the last look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from img_contract.history import Ending, written
from img_contract.job.stats import HourTotals
from img_contract.totals import RecentTotals
from img_contract.volume.files import storage_faults
from img_contract.volume.journal import Journal, hour_of

_AT_ONCE: Final = 1024 * 1024
"""Bytes that are read at once."""


class JournalTotals:
    """Reads each line once. Thread-safe."""

    def __init__(self, ended: Journal, clock: Callable[[], float] = time.time) -> None:
        self._ended = ended
        self._clock = clock
        self._lock = threading.Lock()
        self._totals = RecentTotals()
        self._offsets: dict[str, int] = {}
        """How far each hour was read."""

    def hour(self) -> HourTotals:
        """Return the totals of the last hour. Raises StoreError."""
        present = datetime.fromtimestamp(self._clock(), UTC)
        with self._lock, storage_faults("read the journal of endings", self._ended.folder):
            oldest = present - timedelta(hours=1)
            hours = [hour for hour in self._ended.hours() if hour >= hour_of(oldest)]
            self._offsets = {hour: self._offsets.get(hour, 0) for hour in hours}
            for hour in hours:
                self._read(hour, written(oldest))
            return self._totals.hour(present.timestamp())

    def _read(self, hour: str, oldest: str) -> None:
        while True:
            lines, end = self._ended.forwards(hour, self._offsets[hour], _AT_ONCE)
            if end == self._offsets[hour]:
                return
            for _, words in lines:
                if words[0] >= oldest and (ending := Ending.read(words)):
                    self._totals.add(ending)
            self._offsets[hour] = end
