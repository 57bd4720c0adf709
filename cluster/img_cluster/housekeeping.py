"""Housekeeping by turns: in each period one engine, whichever is first, does the part of it that is due."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from img_cluster.cleanup import Cleanup
from img_cluster.objects import JobsStore
from img_cluster.reconciliation import Reconciliation

TURNS: Final = "turns"

SHARDS_PER_TURN: Final = 12
"""At a turn a minute, all jobs are looked at within 22 minutes."""


class Housekeeping:
    """What one engine does of it."""

    def __init__(
        self, store: JobsStore, cleanup: Cleanup, reconciliation: Reconciliation, engine: str, turn_seconds: float
    ) -> None:
        self._bucket = store.bucket
        self._cleanup = cleanup
        self._reconciliation = reconciliation
        self._engine = engine
        self._turn_seconds = turn_seconds
        self._turn = 0
        self._steps: deque[Callable[[], None]] = deque()

    def run_batch(self) -> None:
        """Do one step, if it is this engine's turn. Raises StoreError."""
        turn = int(self._bucket.now() // self._turn_seconds)
        if turn != self._turn:
            self._turn = turn
            if self._bucket.create(f"{TURNS}/{turn}", self._engine.encode()):
                self._begin(turn)
        elif self._steps:
            self._steps.popleft()()

    def _begin(self, turn: int) -> None:
        first = turn * SHARDS_PER_TURN
        self._steps = deque([self._reconciliation.begin, self._reconcile])
        self._steps += [partial(self._cleanup.shard, number) for number in range(first, first + SHARDS_PER_TURN)]
        self._steps += [self._cleanup.keys, self._cleanup.marks, partial(self._forget_turns, turn)]

    def _reconcile(self) -> None:
        if self._reconciliation.step():
            self._steps.appendleft(self._reconcile)

    def _forget_turns(self, turn: int) -> None:
        past = [name for name in self._bucket.names(TURNS) if name.isdigit() and int(name) < turn]
        self._bucket.delete([f"{TURNS}/{name}" for name in past])
