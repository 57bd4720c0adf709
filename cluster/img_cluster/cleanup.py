"""Keeping the store clean: expired jobs, what broken submissions left, keys that lead to no job.

A lifecycle rule of the bucket could not do it: it counts from the creation of an object, so it would remove jobs that
still wait, and it would tear a job to pieces. For uploads in parts that were never completed, have one all the same.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Final

from img_contract.errors import UnknownJob
from img_contract.history import Arrival, Ending
from img_contract.job.job import JOB_ID

from img_cluster.bucket import PAGE, Bucket, Entry
from img_cluster.idempotency import read_use
from img_cluster.index import ENDED, RECENT, counted_down, keys_of, words_of
from img_cluster.objects import ENGINES, IDEMPOTENCY, METRICS, JobObjects, JobsStore, marker
from img_cluster.proof import PROBES

LEFTOVER_SECONDS: Final = 3600.0
"""A submission that nobody has written to for this long is not going to be finished."""

SHARDS: Final = 256

_ADOPTED: Final = 10
"""Jobs of a page whose markers are looked for, at random: many may wait for long, and hardly any has lost its own."""

_KEYS: Final = 100
"""Expired Idempotency-Keys that are removed in one step."""

_NOTED: Final = 100
"""Names of the index that are looked at in each turn: there are only those that an expired job has left behind."""


class Cleanup:
    """Cleans parts of one store. Any engine may do it, at any time. Every method raises StoreError."""

    def __init__(self, store: JobsStore, retention_seconds: float) -> None:
        self._store = store
        self._bucket: Bucket = store.bucket
        self._retention = retention_seconds
        self._last_key: str | None = None
        self._last_noted: dict[str, str] = {}

    def shard(self, number: int, after: str | None = None) -> str | None:
        """Clean some jobs of a 256th of them: those after a name. Return the last name if there may be more."""
        folder = f"jobs/{number % SHARDS:02x}"
        names = self._bucket.names(folder, after=after)
        jobs: dict[str, dict[str, Entry]] = defaultdict(dict)
        for name, entry in names.items():
            job_id, _, rest = name.partition("/")
            jobs[job_id][rest] = entry
        last = next(reversed(names)) if len(names) == PAGE else None
        if last and len(jobs) > 1:  # the page may have cut the last job; it comes with the next one
            jobs.popitem()
            job_id, rests = next(reversed(jobs.items()))
            last = f"{job_id}/{next(reversed(rests))}"
        present = self._bucket.now()
        waiting = []
        for job_id, entries in jobs.items():
            if JOB_ID.fullmatch(job_id) and job_id.startswith(folder[-2:]):  # else it is not of our making
                found = JobObjects(entries)
                if found.exists and not found.ended:
                    waiting.append((job_id, found))
                else:
                    self._visit(job_id, found, present)
        old = [job_id for job_id, found in waiting if _age(found, "job.json", present) > LEFTOVER_SECONDS]
        for job_id in random.sample(old, min(_ADOPTED, len(old))):
            self._adopt(job_id)
        return last

    def keys(self) -> None:
        """Look at the next thousand Idempotency-Keys at most; remove those whose job has expired."""
        names = self._bucket.names(IDEMPOTENCY, after=self._last_key)
        present = self._bucket.now()
        # No job of a younger one has expired, and what broken submissions left does no harm.
        old = [name for name, entry in names.items() if present - entry.modified > self._retention][:_KEYS]
        last = next(reversed(names)) if len(names) == PAGE else None
        self._last_key = old[-1] if len(old) == _KEYS else last
        for name in old:
            use = read_use(self._bucket, f"{IDEMPOTENCY}/{name}")
            if use is None or not self._bucket.exists(f"{self._store.folder(use.job)}/job.json"):
                self._bucket.delete([f"{IDEMPOTENCY}/{name}"])

    def marks(self) -> None:
        """Remove the marks and metrics of engines that died long ago, and probes that were left."""
        present = self._bucket.now()
        for folder in (ENGINES, METRICS, PROBES):
            marks = self._bucket.names(folder)
            old = [name for name, entry in marks.items() if present - entry.modified > LEFTOVER_SECONDS]
            self._bucket.delete([f"{folder}/{name}" for name in old])

    def index(self) -> None:
        """Look at the next few old names of the index; remove those whose job is gone, and did not take them along."""
        old = counted_down(datetime.fromtimestamp(time.time() - self._retention - LEFTOVER_SECONDS, UTC))
        for folder, read in ((RECENT, Arrival.read), (ENDED, Ending.read)):
            names = list(self._bucket.names(folder, _NOTED, max(old, self._last_noted.get(folder, ""))))
            self._last_noted[folder] = names[-1] if len(names) == _NOTED else ""
            for name in names:
                noted = read(words_of(name))
                if noted is None or not self._bucket.exists(f"{self._store.folder(noted.job_id)}/job.json"):
                    self._bucket.delete([f"{folder}/{name}"])

    def _visit(self, job_id: str, found: JobObjects, present: float) -> None:
        """Remove a job that has expired, or what is left of a submission."""
        if found.exists:
            expired = _age(found, "outcome.json", present) > self._retention
        else:
            expired = min(_age(found, name, present) for name in found.names) > LEFTOVER_SECONDS
        if expired:
            self._remove(job_id, found)

    def _remove(self, job_id: str, found: JobObjects) -> None:
        # The record goes first, and the job is gone in one step: without half of its files it would look queued.
        folder = self._store.folder(job_id)
        noted: list[str] = []
        if found.exists:
            try:
                noted = keys_of(job_id, self._store.read_what_is_sound(job_id), self._store.read_outcome(job_id, found))
            except UnknownJob:  # another engine was faster
                noted = []
            self._bucket.delete([f"{folder}/job.json"])
        self._bucket.delete([*noted, *(f"{folder}/{name}" for name in found.names if name != "job.json")])

    def _adopt(self, job_id: str) -> None:
        """Give a job that has not ended its marker back, should somebody have removed it."""
        job = self._store.read_what_is_sound(job_id)
        if job and not self._bucket.exists(marker(job_id, job.submitted_at)):
            self._bucket.put(marker(job_id, job.submitted_at), b"")
            if self._store.look(job_id).ended:  # it ended this moment
                self._bucket.delete([marker(job_id, job.submitted_at)])


def _age(found: JobObjects, name: str, present: float) -> float:
    """Return how old one object of a job is, in seconds."""
    return present - found.names[name].modified
