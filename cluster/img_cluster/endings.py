"""Waiting for jobs to end: a notice wakes the caller, and a slow look at the store is the net below it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from img_contract.errors import UnknownJob

from img_cluster.objects import JobsStore

_SHORTEST: Final = 0.1
_LONGEST: Final = 2.0
_SHARE: Final = 0.1
"""Without a notice, a job is looked at again after this share of the time that was waited for it."""

_GIVE_UP_SECONDS: Final = 0.25
"""Callers are asked this often whether they have given up."""


class EndWatch:
    """Tells callers in many threads when their jobs have ended."""

    def __init__(self, store: JobsStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = defaultdict(set)

    def heard(self, job_id: str) -> None:
        """Take a notice that a job has ended."""
        with self._lock:
            for event in self._waiting.get(job_id, ()):
                event.set()

    def wait(self, job_id: str, seconds: float, given_up: Callable[[], bool]) -> bool:
        """See `ports.Jobs.wait_ended`."""
        event = threading.Event()
        with self._lock:
            self._waiting[job_id].add(event)
        try:
            return self._wait(job_id, seconds, given_up, event)
        finally:
            with self._lock:
                self._waiting[job_id].discard(event)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]

    def _wait(self, job_id: str, seconds: float, given_up: Callable[[], bool], event: threading.Event) -> bool:
        try:
            found = self._store.look(job_id)  # after this caller can be noticed, or the end could come in between
        except UnknownJob:
            return True
        if found.ended or not found.exists:
            return True
        outcome = f"{self._store.folder(job_id)}/outcome.json"
        since = time.monotonic()
        due = since + _SHORTEST
        while (left := since + seconds - time.monotonic()) > 0:
            noticed = event.wait(min(left, _GIVE_UP_SECONDS, max(0.0, due - time.monotonic())))
            present = time.monotonic()
            if noticed or present >= due:
                event.clear()
                if self._store.bucket.exists(outcome):
                    return True
                due = present + min(max((present - since) * _SHARE, _SHORTEST), _LONGEST)
            if given_up():
                return False
        return False
