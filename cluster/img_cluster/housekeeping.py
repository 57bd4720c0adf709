"""Housekeeping by turns: in each period one engine, whichever is first, does the part of it that is due."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from img_cluster.bucket import Bucket
from img_cluster.cleanup import Cleanup
from img_cluster.reconciliation import Reconciliation

TURNS: Final = "turns"

_CLEANUP_SECONDS: Final = 60.0
SHARDS_PER_TURN: Final = 12
"""At a turn a minute, all jobs are looked at within 22 minutes."""
_PAGES_OF_KEYS: Final = 8
"""At a turn a minute, eleven million Idempotency-Keys are looked at in a day."""


class _Turn:
    """One kind of housekeeping, and the period in which one engine does it."""

    def __init__(self, bucket: Bucket, kind: str, engine: str, seconds: float) -> None:
        self.number = 0
        self._bucket = bucket
        self._kind = kind
        self._engine = engine
        self._seconds = seconds

    def begins(self) -> bool:
        """Return whether a new period has begun, and is this engine's."""
        number = int(self._bucket.now() // self._seconds)
        if number == self.number:
            return False
        self.number = number
        return self._bucket.create(f"{TURNS}/{self._kind}-{number}", self._engine.encode())


class Housekeeping:
    """What one engine does of it."""

    def __init__(
        self, bucket: Bucket, cleanup: Cleanup, reconciliation: Reconciliation, engine: str, lost_seconds: float
    ) -> None:
        self._bucket = bucket
        self._cleanup = cleanup
        self._reconciliation = reconciliation
        self._reconciling = _Turn(bucket, "reconcile", engine, lost_seconds / 2)
        self._cleaning = _Turn(bucket, "clean", engine, _CLEANUP_SECONDS)
        self._steps: deque[Callable[[], None]] = deque()

    def run_batch(self) -> None:
        """Do one step of what is due, if it is this engine's turn. Raises StoreError."""
        if self._reconciling.begins():
            self._reconciliation.begin()
            self._steps.appendleft(self._reconcile)
        elif self._steps:
            self._steps.popleft()()
        elif self._cleaning.begins():
            first = self._cleaning.number * SHARDS_PER_TURN
            self._steps += [partial(self._clean, number) for number in range(first, first + SHARDS_PER_TURN)]
            self._steps += [self._cleanup.keys] * _PAGES_OF_KEYS
            self._steps += [self._cleanup.index, self._cleanup.marks, self._forget_turns]

    def _clean(self, shard: int, after: str | None = None) -> None:
        if last := self._cleanup.shard(shard, after):
            self._steps.appendleft(partial(self._clean, shard, last))

    def _reconcile(self) -> None:
        if self._reconciliation.step():
            self._steps.appendleft(self._reconcile)

    def _forget_turns(self) -> None:
        present = self._bucket.now()
        turns = self._bucket.names(TURNS)
        past = [name for name, entry in turns.items() if present - entry.modified > 10 * _CLEANUP_SECONDS]
        self._bucket.delete([f"{TURNS}/{name}" for name in past])
