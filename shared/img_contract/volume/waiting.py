"""The jobs that have not ended, in the order in which engines take them, for many who ask at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from img_contract.volume.files import storage_faults
from img_contract.volume.layout import Layout
from img_contract.waiting import Waiting

_SHARE: Final = 0.02
"""Looking at the volume takes no more than this share of the time."""

_LOOK_AHEAD: Final = 256
"""Engines take the oldest jobs first: where so many in a row are not begun, those behind them are not either."""


class WaitingJobs:
    """Looks at the markers, not more often than is cheap. Thread-safe."""

    def __init__(self, layout: Layout, clock: Callable[[], float] = time.monotonic) -> None:
        self._layout = layout
        self._clock = clock
        self._lock = threading.Lock()
        self._found = Waiting()
        self._begun: set[str] = set()
        self._fresh_until = float("-inf")

    def now(self) -> Waiting:
        """Return what a look has found that is not older than it is dear. Raises StoreError."""
        with self._lock:
            began = self._clock()
            if began >= self._fresh_until:
                with storage_faults("look for jobs", self._layout.pending):
                    self._look()
                ended = self._clock()
                self._fresh_until = ended + (ended - began) / _SHARE
            return self._found

    def _look(self) -> None:
        known = {job_id: submitted for submitted, job_id in self._found.order}
        order = []
        for entry in self._layout.markers():
            submitted = known.get(entry.name)
            if submitted is None:
                with suppress(FileNotFoundError):  # its job ended this moment
                    submitted = entry.stat(follow_symlinks=False).st_mtime_ns
            if submitted is not None:
                order.append((submitted, entry.name))
        order.sort()
        begun, in_a_row = set(), 0
        for _, job_id in order:
            if (job_id in self._begun or in_a_row < _LOOK_AHEAD) and self._layout.begun(job_id):
                begun.add(job_id)
                in_a_row = 0
            else:
                in_a_row += 1
        self._begun = begun
        self._found = Waiting.of(order, begun)
